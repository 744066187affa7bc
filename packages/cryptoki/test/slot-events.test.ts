/**
 * C_WaitForSlotEvent and the infos of library, slot, token and session, while cards and readers come and go.
 */
import { readFile } from 'node:fs/promises'
import { ccidSlots } from '@webtoki/ccid'
import {
  CKF,
  CKR,
  CKS,
  Cryptoki,
  cryptokiInfo,
  type Slot,
  type SlotEvent,
  slotEvents,
  slotInfo,
  waitForSlotEvent,
} from '@webtoki/cryptoki'
import { pivDriver } from '@webtoki/cryptoki/piv'
import { createPivCard, readerProfiles, VirtualBus, VirtualCcidReader } from '@webtoki/simulator'
import { filter, firstValueFrom, NEVER, Subject, throwError } from 'rxjs'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openMemory, rv, settled } from './memory-setup.ts'
import { rightPin } from './piv-setup.ts'

let bus: VirtualBus
let reader: VirtualCcidReader
let cryptoki: Cryptoki
let slot: Slot

/** Resolves after the slot has reported that presence. */
const presence = (expected: 'empty' | 'present') =>
  firstValueFrom(slot.presence$.pipe(filter((each) => each === expected)))

beforeEach(async () => {
  bus = new VirtualBus()
  reader = new VirtualCcidReader(readerProfiles.omnikey3021)
  bus.plug(reader)
  const usb = bus.context({ protectedClasses: false })
  cryptoki = new Cryptoki({ sources: [ccidSlots({ usb })], drivers: [pivDriver()] })
  const [first] = await firstValueFrom(cryptoki.slots$.pipe(filter(({ length }) => length > 0)))
  slot = first as Slot
  await presence('empty')
})
afterEach(() => cryptoki.close())

async function insert(): Promise<void> {
  reader.insert(createPivCard())
  await presence('present')
}

async function remove(): Promise<void> {
  reader.remove()
  await presence('empty')
}

describe('slotEvents', () => {
  it('emits every insertion and removal to each subscriber, and completes with the library', async () => {
    const emitted: SlotEvent[][] = [[], []]
    let ends = 0
    for (const list of emitted)
      slotEvents(cryptoki).subscribe({ next: (event) => list.push(event), complete: () => ends++ })
    await insert()
    await remove()
    await insert()
    const expected = [true, false, true].map((present) => ({ slot, present }))
    expect(emitted).toEqual([expected, expected])
    await cryptoki.close()
    expect(ends).toBe(2)
  })

  it('does not wait for a silent slot, and continues if one fails', async () => {
    const silent = { presence$: NEVER } as unknown as Slot
    const broken = { presence$: throwError(() => new Error('broken')) } as unknown as Slot
    const emitted: SlotEvent[] = []
    const joined = new Subject<readonly Slot[]>()
    slotEvents({ slots$: joined }).subscribe((event) => emitted.push(event))
    joined.next([silent, broken, slot])
    await insert()
    expect(emitted).toEqual([{ slot, present: true }])
  })

  it('emits nothing for a card that is already present', async () => {
    await insert()
    const emitted: SlotEvent[] = []
    slotEvents(cryptoki).subscribe((event) => emitted.push(event))
    await settled()
    expect(emitted).toEqual([])
  })

  it('emits the removal of a card whose reader is unplugged', async () => {
    await insert()
    const event = firstValueFrom(slotEvents(cryptoki))
    bus.unplug(reader)
    expect(await event).toEqual({ slot, present: false })
  })
})

describe('waitForSlotEvent', () => {
  it('waits for a card', async () => {
    const event = waitForSlotEvent(cryptoki)
    await insert()
    expect(await event).toEqual({ slot, present: true })
  })

  it('without blocking, rejects with CKR_NO_EVENT, or reports the latest unreported event once', async () => {
    const poll = () => waitForSlotEvent(cryptoki, { block: false })
    await expect(poll()).rejects.toEqual(rv(CKR.NO_EVENT))
    await insert()
    await remove()
    expect(await poll()).toEqual({ slot, present: false })
    await expect(poll()).rejects.toEqual(rv(CKR.NO_EVENT))
  })

  it('gives each event to one caller, in the order of their calls', async () => {
    const [first, second] = [waitForSlotEvent(cryptoki), waitForSlotEvent(cryptoki)]
    await insert()
    expect(await first).toEqual({ slot, present: true })
    await remove()
    expect(await second).toEqual({ slot, present: false })
  })

  it('that is aborted rejects with CKR_FUNCTION_CANCELED and consumes no event', async () => {
    const controller = new AbortController()
    const aborted = waitForSlotEvent(cryptoki, { signal: controller.signal })
    const second = waitForSlotEvent(cryptoki)
    controller.abort('gone')
    await expect(aborted).rejects.toEqual(
      expect.objectContaining({ rv: CKR.FUNCTION_CANCELED, cause: 'gone' }),
    )
    await insert()
    expect(await second).toEqual({ slot, present: true })
    await expect(waitForSlotEvent(cryptoki, { signal: controller.signal })).rejects.toEqual(
      rv(CKR.FUNCTION_CANCELED),
    )
  })

  it('rejects with CKR_CRYPTOKI_NOT_INITIALIZED if the library closes, and afterwards', async () => {
    const waiting = waitForSlotEvent(cryptoki)
    const closing = cryptoki.close()
    await expect(waiting).rejects.toEqual(rv(CKR.CRYPTOKI_NOT_INITIALIZED))
    await closing
    const late = waitForSlotEvent(cryptoki, { block: false })
    await expect(late).rejects.toEqual(rv(CKR.CRYPTOKI_NOT_INITIALIZED))
  })
})

describe('the infos', () => {
  it('C_GetInfo has the versions of this package and of the standard', async () => {
    const { version } = JSON.parse(await readFile(new URL('../package.json', import.meta.url), 'utf8')) as {
      version: string
    }
    const { libraryVersion, cryptokiVersion } = cryptokiInfo
    expect(version.startsWith(`${libraryVersion.major}.${libraryVersion.minor}.`)).toBe(true)
    expect(cryptokiVersion).toEqual({ major: 3, minor: 0 })
  })

  it('C_GetSlotInfo follows the card and names the reader', async () => {
    const removable = CKF.HW_SLOT | CKF.REMOVABLE_DEVICE
    expect(await slotInfo(slot)).toMatchObject({ description: slot.name, flags: removable })
    await insert()
    expect((await slotInfo(slot)).flags).toBe(removable | CKF.TOKEN_PRESENT)
    await remove()
    expect((await slotInfo(slot)).flags).toBe(removable)
  })

  it('C_GetSlotInfo lacks CKF_REMOVABLE_DEVICE for a token with a built-in card', async () => {
    const memory = await openMemory()
    expect((await slotInfo(memory.slot)).flags).toBe(CKF.HW_SLOT | CKF.TOKEN_PRESENT)
    await memory.cryptoki.close()
  })

  it('C_GetTokenInfo counts the open sessions of all applications', async () => {
    const memory = await openMemory()
    const counts = async () => {
      const { sessions, readWriteSessions, maxSessions } = await memory.slot.tokenInfo()
      return [sessions, readWriteSessions, maxSessions]
    }
    expect(await counts()).toEqual([1, 0, Infinity])
    const other = await memory.slot.openSession({ application: {}, readWrite: true })
    expect(await counts()).toEqual([2, 1, Infinity])
    await memory.session.close()
    await other.close()
    expect(await counts()).toEqual([0, 0, Infinity])
    await memory.cryptoki.close()
  })

  it('C_GetSessionInfo has slot, state and flags, and throws after the session ends', async () => {
    await insert()
    const session = await slot.openSession({ pin: rightPin })
    const info = { slotId: slot.id, flags: CKF.SERIAL_SESSION, deviceError: 0 }
    expect(session.info).toEqual({ ...info, state: CKS.RO_PUBLIC_SESSION })
    await session.login(1)
    expect(session.info).toEqual({ ...info, state: CKS.RO_USER_FUNCTIONS })
    await session.close()
    expect(() => session.info).toThrow(rv(CKR.SESSION_HANDLE_INVALID) as Error)
    const memory = await openMemory()
    const writing = await memory.slot.openSession({ readWrite: true })
    expect(writing.info).toMatchObject({
      state: CKS.RW_PUBLIC_SESSION,
      flags: CKF.SERIAL_SESSION | CKF.RW_SESSION,
    })
    await memory.cryptoki.close()
  })
})
