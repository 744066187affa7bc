/** Checks the tables of docs/mechanisms.md against the mechanisms that tokens report. */
import { readFileSync } from 'node:fs'
import { ccidSlots } from '@webtoki/ccid'
import { CKF, CKM, Cryptoki, type MechanismInfo } from '@webtoki/cryptoki'
import { openPgpDriver } from '@webtoki/cryptoki/openpgp'
import {
  createOpenPgpCard,
  type OpenPgpAlgorithm,
  readerProfiles,
  VirtualCcidReader,
  virtualUsb,
} from '@webtoki/simulator'
import { firstValueFrom } from 'rxjs'
import { describe, expect, it, onTestFinished } from 'vitest'
import { MAX_GCM_BYTES } from '../src/mechanisms.ts'
import { openMemory } from './memory-setup.ts'
import { open } from './piv-setup.ts'

const page = readFileSync(new URL('../../../docs/mechanisms.md', import.meta.url), 'utf8')

type Row = Readonly<Record<string, string>>

/** The rows of the table below a heading, keyed by column name. */
function tableBelow(heading: string): readonly Row[] {
  const section = page.split(/^## /m).find((each) => each.startsWith(heading)) ?? ''
  const [head = [], , ...rows] = [...section.matchAll(/^\| ?(.*)\|$/gm)].map(([, line = '']) =>
    line.split('|').map((cell) => cell.trim()),
  )
  return rows.map((cells) => Object.fromEntries(head.map((name, at) => [name, cells[at] ?? ''])))
}

const kindFlags: ReadonlyMap<string, number> = new Map([
  ['encrypt', CKF.ENCRYPT],
  ['decrypt', CKF.DECRYPT],
  ['digest', CKF.DIGEST],
  ['sign', CKF.SIGN],
  ['sign-recover', CKF.SIGN_RECOVER],
  ['verify', CKF.VERIFY],
  ['verify-recover', CKF.VERIFY_RECOVER],
  ['generate', CKF.GENERATE],
  ['wrap', CKF.WRAP],
  ['unwrap', CKF.UNWRAP],
  ['derive', CKF.DERIVE],
])
const listOf = (cell = ''): readonly string[] => (cell === '' ? [] : cell.split(', ').toSorted())
const kindsOf = (flags = 0): readonly string[] =>
  [...kindFlags]
    .filter(([, flag]) => (flags & flag) !== 0)
    .map(([kind]) => kind)
    .toSorted()

const names = new Map<number, string>(Object.entries(CKM).map(([name, type]) => [type, name]))
const bitsOf = ({ minKeyBits, maxKeyBits }: MechanismInfo): string => {
  if (maxKeyBits === 0) return ''
  return minKeyBits === maxKeyBits ? `${minKeyBits}` : `${minKeyBits}–${maxKeyBits}`
}

interface ReportedMechanism {
  readonly mechanism: string
  readonly kinds: readonly string[]
  readonly bits: string
}

const reported = (mechanisms: ReadonlyMap<number, MechanismInfo>): readonly ReportedMechanism[] =>
  [...mechanisms]
    .map(([type, info]) => ({
      mechanism: `\`${names.get(type)}\``,
      kinds: kindsOf(info.flags),
      bits: bitsOf(info),
    }))
    .toSorted((one, other) => one.mechanism.localeCompare(other.mechanism))

const written = (rows: readonly Row[], ...columns: readonly string[]): readonly ReportedMechanism[] =>
  rows
    .map((row) => ({
      mechanism: row['Mechanism'] ?? '',
      kinds: columns.flatMap((column) => listOf(row[column])).toSorted(),
      bits: row['Key bits'] ?? '',
    }))
    .toSorted((one, other) => one.mechanism.localeCompare(other.mechanism))

/** The mechanisms of a token that has none itself: those that every token has in software. */
async function inSoftware(): Promise<ReadonlyMap<number, MechanismInfo>> {
  const { slot, token } = await openMemory()
  Object.defineProperty(token, 'mechanisms', { value: new Map() })
  return slot.mechanisms()
}

/** The mechanisms of both tokens of a card with three keys of one type, without those in software. */
async function ofOpenPgpCard(algorithm: OpenPgpAlgorithm): Promise<ReadonlyMap<number, MechanismInfo>> {
  const algorithms = { signature: algorithm, decryption: algorithm, authentication: algorithm }
  const reader = new VirtualCcidReader(readerProfiles.dualiAbcm6)
  reader.insert(createOpenPgpCard({ algorithms }))
  const usb = virtualUsb([reader], { protectedClasses: false })
  const cryptoki = new Cryptoki({ sources: [ccidSlots({ usb })], drivers: [openPgpDriver()] })
  onTestFinished(() => cryptoki.close())
  await firstValueFrom(cryptoki.slots$).then(([first]) => first?.tokenInfo())
  const software = await inSoftware()
  const all = new Map<number, MechanismInfo>()
  for (const slot of await firstValueFrom(cryptoki.slots$))
    for (const [type, info] of await slot.mechanisms()) {
      const own = info.flags & ~(software.get(type)?.flags ?? 0)
      if (kindsOf(own).length > 0) all.set(type, { ...info, flags: own | (all.get(type)?.flags ?? 0) })
    }
  return all
}

describe('docs/mechanisms.md', () => {
  it('has a row for each mechanism of a PIV token, with its uses and key sizes', async () => {
    const { slot } = await open()
    const rows = tableBelow('A PIV token')
    expect(written(rows, 'Card', 'Software')).toEqual(reported(await slot.mechanisms()))
  })

  it('lists in the column "Software" what every token does, even one without mechanisms', async () => {
    const kinds = new Map([...(await inSoftware())].map(([type, { flags }]) => [type, kindsOf(flags)]))
    const rows = tableBelow('A PIV token').filter(({ Software }) => Software !== '')
    expect(new Map(rows.map((row) => [row['Mechanism'], listOf(row['Software'])]))).toEqual(
      new Map([...kinds].map(([type, list]) => [`\`${names.get(type)}\``, list])),
    )
  })

  it('has a row for each mechanism of an OpenPGP card with RSA or P-256 keys', async () => {
    const all = new Map([...(await ofOpenPgpCard('rsa2048')), ...(await ofOpenPgpCard('p256'))])
    expect(written(tableBelow('An OpenPGP token'), 'Card')).toEqual(reported(all))
  })

  it('states the size limit of AES-GCM', () => {
    const row = tableBelow('A PIV token').find(({ Mechanism }) => Mechanism === '`AES_GCM`')
    expect(row?.['Data']).toContain(MAX_GCM_BYTES.toLocaleString('en-US'))
  })
})
