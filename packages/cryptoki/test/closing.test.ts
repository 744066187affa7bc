/**
 * What remains of sessions and slots after the library or all sessions are closed (PKCS#11 v2.40, 5.4 and
 * 5.6).
 */
import { CKA, CKM, CKO, CKR, CKS, CKU, type Session } from '@webtoki/cryptoki'
import { expect, it, vi } from 'vitest'
import { openMemory, sha256 } from './memory-setup.ts'
import { bytesOf, object, open, rv } from './piv-setup.ts'

const rsa = { type: CKM.SHA256_RSA_PKCS }
const message = bytesOf('what is to be signed')

it('after the library is closed every call returns CKR_CRYPTOKI_NOT_INITIALIZED', async () => {
  const { cryptoki, slot, session } = await open()
  await session.login(CKU.USER)
  const key = await object(session, CKO.PRIVATE_KEY, 1)
  const pending = session.sign(rsa, key, message)
  await cryptoki.close()
  const closed = rv(CKR.CRYPTOKI_NOT_INITIALIZED)
  const calls: (() => Promise<unknown>)[] = [
    () => slot.openSession(),
    () => slot.tokenInfo(),
    () => slot.mechanisms(),
    () => session.login(CKU.USER),
    () => session.logout(),
    () => session.findObjects().result(),
    () => session.digest(sha256, message).result(),
    () => session.sign(rsa, key, message).result(),
    () => pending.result(),
    () => session.random(4).result(),
    () => session.createObject({}),
    async () => session.destroyObject(key),
    async () => session.getAttributes(key, CKA.CLASS),
    async () => session.begin({ type: 'digest', mechanism: sha256 }),
    async () => session.cancel(),
    async () => session.state,
  ]
  for (const call of calls) await expect(call()).rejects.toEqual(closed)
  await session.close()
  await slot.closeAllSessions()
  await cryptoki.close()
})

it('a session opened by a listener while the library closes is refused', async () => {
  const { cryptoki, slot, session } = await openMemory()
  const opened: Promise<Session>[] = []
  session.findObjects().events$.subscribe({ error: () => opened.push(slot.openSession()) })
  const closing = cryptoki.close()
  await closing
  expect(opened).toHaveLength(1)
  await expect(opened[0]).rejects.toEqual(rv(CKR.CRYPTOKI_NOT_INITIALIZED))
})

it('a session opened while all sessions are closed starts on a reset card', async () => {
  const { slot, session, cardSlot } = await openMemory()
  const opened: Promise<Session>[] = []
  session.findObjects().events$.subscribe({ error: () => opened.push(slot.openSession()) })
  const before = slot.openSession()
  await slot.closeAllSessions()
  for (const each of [before, ...opened]) {
    const fresh = await each
    expect(fresh.state).toBe(CKS.RO_PUBLIC_SESSION)
    expect(await fresh.digest(sha256, message)).toHaveLength(32)
  }
  expect([opened.length, cardSlot.card.closed]).toEqual([1, 1])
})

it('closing the sessions of an application that has none does not power the card', async () => {
  const { slot, cardSlot, session } = await openMemory()
  const application = {}
  await slot.closeAllSessions({ application })
  expect(session.state).toBe(CKS.RO_PUBLIC_SESSION)
  await slot.closeAllSessions()
  const connect = vi.spyOn(cardSlot, 'connect')
  await slot.closeAllSessions({ application })
  expect(connect).not.toHaveBeenCalled()
})
