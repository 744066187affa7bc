/** Runs the applet of docs/adding-an-applet.md and checks that the page shows its code. */
import { createPublicKey, verify } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { p256 } from '@noble/curves/nist.js'
import { ccidSlots } from '@webtoki/ccid'
import { CKA, CKM, CKO, CKR, CKU, Cryptoki } from '@webtoki/cryptoki'
import {
  type Answer,
  AppletCard,
  type CommandApdu,
  createPivCard,
  readerProfiles,
  VirtualCcidReader,
  type VirtualApplet,
  type VirtualCard,
  virtualUsb,
} from '@webtoki/simulator'
import { firstValueFrom } from 'rxjs'
import { expect, it } from 'vitest'
import { badgeDriver } from './minimal-applet.ts'

const secret = p256.utils.randomSecretKey()
const point = p256.getPublicKey(secret, false)
const message = new TextEncoder().encode('Dear reader,\n')

/** The card: PIN 2468, three attempts. */
class VirtualBadge implements VirtualApplet {
  readonly aid: Uint8Array = Uint8Array.from(Buffer.from('f042414447450001', 'hex'))
  triesLeft = 3
  isVerified = false
  select = (): Answer => response(0x9000)
  deselect = (): void => void (this.isVerified = false)

  run({ ins, p1, p2, data }: CommandApdu): Answer {
    switch ((ins << 8) | p1) {
      case 0xca00:
        return response(0x9000, p2 === 0x5a ? Buffer.from('4a000001', 'hex') : point)
      case 0x20ff:
        this.isVerified = false
        return response(0x9000)
      case 0x2000:
        if (data.length === 0) return response(this.isVerified ? 0x9000 : 0x63c0 + this.triesLeft)
        this.isVerified = this.triesLeft > 0 && Buffer.from(data).toString() === '2468'
        this.triesLeft = this.isVerified ? 3 : Math.max(0, this.triesLeft - 1)
        return response(this.isVerified ? 0x9000 : 0x63c0 + this.triesLeft)
      case 0x8800:
        if (!this.isVerified) return response(0x6982)
        return response(0x9000, p256.sign(data, secret, { prehash: false }))
    }
    return response(0x6d00)
  }
}

function response(sw: number, data: Uint8Array = new Uint8Array(0)): Answer {
  return { data: new Uint8Array(data), sw }
}

async function slotWith(card: VirtualCard) {
  const reader = new VirtualCcidReader(readerProfiles.omnikey3021)
  reader.insert(card)
  const usb = virtualUsb([reader], { protectedClasses: false })
  const cryptoki = new Cryptoki({ sources: [ccidSlots({ usb })], drivers: [badgeDriver()] })
  const [slot] = await firstValueFrom(cryptoki.slots$)
  if (slot === undefined) throw new Error('No slot found.')
  return { cryptoki, slot }
}

it('docs/adding-an-applet.md shows the minimal applet that is tested here', () => {
  const folder = import.meta.dirname
  const page = readFileSync(join(folder, '..', '..', '..', 'docs', 'adding-an-applet.md'), 'utf8')
  const [, shown] = /^```ts\n(\/\*\* A badge:[\s\S]*?)^```/m.exec(page) ?? []
  expect(shown).toBe(readFileSync(join(folder, 'minimal-applet.ts'), 'utf8'))
})

it('the minimal applet signs; a wrong PIN costs an attempt and is requested again', async () => {
  const badge = new VirtualBadge()
  const { cryptoki, slot } = await slotWith(new AppletCard({ applets: [badge] }))
  const reported: (number | undefined)[] = []
  const pins = ['1357', '2468']
  const session = await slot.openSession({
    pin: async ({ triesLeft }) => {
      reported.push(triesLeft)
      return { pin: new TextEncoder().encode(pins.shift()) }
    },
  })
  await expect(session.login(CKU.USER)).rejects.toMatchObject({ rv: CKR.PIN_INCORRECT })
  await session.login(CKU.USER)
  expect(reported).toEqual([3, 2])
  const [key] = await session.findObjects({ [CKA.CLASS]: CKO.PRIVATE_KEY })
  if (key === undefined) throw new Error('No key found.')
  const signature = await session.sign({ type: CKM.ECDSA_SHA256 }, key, message)
  const [x, y] = [point.subarray(1, 33), point.subarray(33)].map((half) =>
    Buffer.from(half).toString('base64url'),
  )
  const jwk = { kty: 'EC', crv: 'P-256', x: x ?? '', y: y ?? '' }
  const publicKey = createPublicKey({ key: jwk, format: 'jwk' })
  expect(verify('sha256', message, { key: publicKey, dsaEncoding: 'ieee-p1363' }, signature)).toBe(true)
  await session.logout()
  expect(badge.isVerified).toBe(false)
  await cryptoki.close()
})

it('the minimal applet is not found on another card', async () => {
  const { cryptoki, slot } = await slotWith(createPivCard())
  await expect(slot.openSession()).rejects.toMatchObject({ rv: CKR.TOKEN_NOT_RECOGNIZED })
  await cryptoki.close()
})
