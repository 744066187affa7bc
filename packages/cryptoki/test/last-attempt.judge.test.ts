/**
 * The PKCS#11 module of OpenSC and this library: the same warnings about attempts left, with the same virtual
 * cards.
 */
import { execFile } from 'node:child_process'
import { CKF, CKU } from '@webtoki/cryptoki'
import { createPivCard, type PivCard, readerProfiles, VirtualCcidReader } from '@webtoki/simulator'
import { startBus, startPcscd } from '@webtoki/simulator/node'
import { describe, expect, it } from 'vitest'
import { whatIsMissing } from '../../simulator/test/bus/line-program.ts'
import { bytesOf, open as openPiv } from './piv-setup.ts'

const missing =
  whatIsMissing(['gcc', 'pcscd', 'unshare', 'nsenter', 'pkcs11-tool']) ??
  (process.getuid?.() === 0 ? undefined : 'a private mount namespace needs root')
if (missing !== undefined) {
  if (process.env['CI'] === 'true' && process.getuid?.() === 0) throw new Error(missing)
  console.warn(`The PIN warnings are not compared with OpenSC: ${missing}.`)
}

/** Spends attempts before either library is used. */
async function spendAttempts(card: PivCard, wrong: number): Promise<void> {
  await card.process(Uint8Array.of(0, 0xa4, 4, 0, 5, 0xa0, 0, 0, 3, 8))
  const verify = Uint8Array.of(0, 0x20, 0, 0x80, 8, ...bytesOf('999999'), 0xff, 0xff)
  for (let each = 0; each < wrong; each++) await card.process(verify)
}

/** The token flags that `pkcs11-tool --list-slots` prints. */
async function openScTokenFlags(pinTries: number, wrong: number): Promise<string[]> {
  const bus = await startBus()
  const reader = new VirtualCcidReader(readerProfiles.omnikey3021)
  const card = createPivCard({ pinTries })
  await spendAttempts(card, wrong)
  reader.insert(card)
  bus.plug(reader)
  const daemon = await startPcscd({ bus })
  try {
    const { program, args } = daemon.inside('pkcs11-tool', '--list-slots')
    for (let tries = 0; tries < 20; tries++) {
      const out = await new Promise<string>((resolve) => {
        execFile(program, [...args], { timeout: 30_000 }, (_, stdout) => resolve(stdout))
      })
      const flags = /token flags\s*:(.*)/.exec(out)?.[1]
      if (flags !== undefined) return flags.split(',').map((flag) => flag.trim())
    }
    throw new Error('OpenSC does not see the card.')
  } finally {
    await daemon.end()
    await bus.close()
  }
}

async function webtokiFlags(pinTries: number, wrong: number): Promise<number> {
  const made = await openPiv({ card: { pinTries }, pin: async () => undefined })
  await spendAttempts(made.card, wrong)
  // A cancelled login reads the retry counter first.
  await made.session.login(CKU.USER).catch(() => {})
  const { flags } = await made.slot.tokenInfo()
  await made.cryptoki.close()
  return flags
}

describe.skipIf(missing !== undefined)('OpenSC and this library give the same warning', () => {
  it.each([
    [1, 0],
    [3, 2],
    [3, 0],
  ])('for a card that allows %i wrong PINs after %i of them', async (pinTries, wrong) => {
    const openScFlags = await openScTokenFlags(pinTries, wrong)
    const flags = await webtokiFlags(pinTries, wrong)
    expect((flags & CKF.USER_PIN_FINAL_TRY) !== 0).toBe(openScFlags.includes('final user PIN try'))
    expect(openScFlags.includes('final user PIN try')).toBe(pinTries - wrong === 1)
  })
})
