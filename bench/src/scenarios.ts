/** The scenarios of the benchmark. Each is an action of a person, whose cost the virtual reader counts. */
import {
  CKA,
  CKM,
  CKO,
  CKU,
  type CkObject,
  MemoryObjectCache,
  type ObjectCache,
  type Session,
} from '@webtoki/cryptoki'
import type { VirtualCard } from '@webtoki/simulator'
import { Webtoki } from 'webtoki'
import { CountedCard, type Counts, type Level, pin, plugged } from './counted-card.ts'

/** A scenario with its limit. */
export interface Scenario {
  readonly name: string
  /** The maximum number of APDUs at each level. */
  readonly atMost: Readonly<Record<Level, number>>
  /** The number of short APDUs that other middleware sends. */
  readonly established: string
  run(level: Level): Promise<Counts>
}

const message = new TextEncoder().encode('a document to sign')
const rsa = { type: CKM.SHA256_RSA_PKCS }
const ecdsa = { type: CKM.ECDSA_SHA256 }

async function keyOf(session: Session, id: number): Promise<CkObject> {
  const template = { [CKA.CLASS]: CKO.PRIVATE_KEY, [CKA.ID]: Uint8Array.of(id) }
  const [key] = await session.findObjects(template)
  if (key === undefined) throw new Error(`The virtual card has no key ${id}.`)
  return key
}

async function counted(card: CountedCard, work: () => Promise<unknown>): Promise<Counts> {
  try {
    await work()
    return card.counts()
  } finally {
    await card.close()
  }
}

/** Runs `login()` of the package `webtoki` in a new page, with a card that was just inserted. */
export async function login(level: Level, cache: ObjectCache, card?: VirtualCard): Promise<Counts> {
  Object.assign(globalThis, { location: { origin: 'https://bench.example' } })
  const { reader, usb, counts } = plugged(level, card)
  const webtoki = new Webtoki({ usb, pin, cache })
  try {
    reader.counters.reset()
    await webtoki.login('n'.repeat(44))
    return counts()
  } finally {
    await webtoki.close()
  }
}

/** The scenarios in the order of the table. */
export const scenarios: readonly Scenario[] = [
  {
    name: 'piv-cold-rsa2048',
    atMost: { short: 12, extended: 7 },
    established: '44 (opensc-pkcs11), 103 (ykcs11)',
    async run(level) {
      const card = await CountedCard.open(level)
      return counted(card, async () => {
        const session = await card.slot.openSession({ pin })
        await session.login(CKU.USER)
        await session.sign(rsa, await keyOf(session, 1), message)
      })
    },
  },
  {
    name: 'piv-next-rsa2048',
    atMost: { short: 3, extended: 1 },
    established: '4, 3',
    async run(level) {
      const card = await CountedCard.open(level)
      return counted(card, async () => {
        const session = await card.slot.openSession({ pin })
        await session.login(CKU.USER)
        const key = await keyOf(session, 1)
        await session.sign(rsa, key, message)
        card.reset()
        await session.sign(rsa, key, message)
      })
    },
  },
  {
    name: 'piv-next-p256-9c',
    atMost: { short: 2, extended: 2 },
    established: '3, 2',
    async run(level) {
      const card = await CountedCard.open(level)
      return counted(card, async () => {
        const session = await card.slot.openSession({ pin })
        await session.login(CKU.USER)
        const key = await keyOf(session, 2)
        await session.sign(ecdsa, key, message)
        card.reset()
        await session.sign(ecdsa, key, message)
      })
    },
  },
  {
    name: 'piv-read-9a',
    atMost: { short: 6, extended: 3 },
    established: '33 to 38, 8 (yubico-piv-tool)',
    async run(level) {
      const card = await CountedCard.open(level)
      return counted(card, async () => {
        const session = await card.slot.openSession()
        await session.findObjects({ [CKA.CLASS]: CKO.CERTIFICATE, [CKA.ID]: Uint8Array.of(1) })
      })
    },
  },
  {
    name: 'piv-connect-warm',
    atMost: { short: 3, extended: 3 },
    established: '38',
    async run(level) {
      const cache = new MemoryObjectCache()
      const before = await CountedCard.open(level, cache)
      const { label } = await before.slot.tokenInfo()
      if (label !== 'Ada Lovelace (demo)') throw new Error(`The label without a cache is ${label}.`)
      await before.close()
      const card = await CountedCard.open(level, cache)
      return counted(card, async () => {
        const info = await card.slot.tokenInfo()
        if (info.label !== label) throw new Error('The label with a cache differs from that without.')
      })
    },
  },
  {
    name: 'openpgp-cold-p256',
    atMost: { short: 7, extended: 7 },
    established: 'not counted',
    async run(level) {
      const card = await CountedCard.openPgp(level)
      return counted(card, async () => {
        const session = await card.slot.openSession({ pin })
        await session.sign(ecdsa, await keyOf(session, 1), message)
      })
    },
  },
  {
    name: 'openpgp-next-p256',
    atMost: { short: 2, extended: 2 },
    established: 'not counted',
    async run(level) {
      const card = await CountedCard.openPgp(level)
      return counted(card, async () => {
        const session = await card.slot.openSession({ pin })
        const key = await keyOf(session, 1)
        await session.sign(ecdsa, key, message)
        card.reset()
        await session.sign(ecdsa, key, message)
      })
    },
  },
  {
    name: 'piv-login',
    atMost: { short: 12, extended: 7 },
    established: 'none: no page does it',
    run: (level) => login(level, new MemoryObjectCache()),
  },
  {
    name: 'piv-login-warm',
    atMost: { short: 9, extended: 7 },
    established: 'none: no page does it',
    async run(level) {
      const cache = new MemoryObjectCache()
      await login(level, cache)
      return login(level, cache)
    },
  },
]
