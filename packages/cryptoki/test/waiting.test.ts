/** Operations that wait until their session is free: `onConflict: 'wait'`. */
import { CKM, CKO, CKR, CKU } from '@webtoki/cryptoki'
import { Subject } from 'rxjs'
import { describe, expect, it } from 'vitest'
import { aesKey, cbcPad, keyOf, openMemory, rv, settled, sha256, sign } from './memory-setup.ts'

const message = new TextEncoder().encode('message')

/** A session with policy wait, and a digest that conflicts until its data complete. */
async function busy(options: Parameters<typeof openMemory>[0] = { onConflict: 'wait' }) {
  const memory = await openMemory(options)
  await memory.session.login(CKU.USER)
  const own = await keyOf(memory.session, CKO.PRIVATE_KEY)
  const data = new Subject<Uint8Array>()
  const first = memory.session.digest(sha256, data, { onConflict: 'reject' }).result()
  first.catch(() => {})
  return { ...memory, own, data, first }
}

describe('operations that wait for their session', () => {
  it('begin one after the other in the order of their calls', async () => {
    const { session, own, data, first } = await busy()
    const order: string[] = []
    const phases: string[] = []
    const onEvent = ({ phase, why }: { phase: string; why?: string }): void => void phases.push(why ?? phase)
    const all = [
      first.then(() => order.push('first')),
      session
        .sign(sign, own, message)
        .result({ onEvent })
        .then(() => order.push('sign')),
      session
        .findObjects()
        .result()
        .then(() => order.push('search')),
      session
        .digest(sha256, message)
        .result()
        .then(() => order.push('digest')),
    ]
    await settled()
    expect([order, session.active, phases]).toEqual([[], ['digest'], ['queued']])
    data.complete()
    await Promise.all(all)
    expect(order).toEqual(['first', 'sign', 'search', 'digest'])
    expect(session.active).toEqual([])
  })

  it('can wait individually in a session that rejects otherwise', async () => {
    const { session, own, data } = await busy({})
    const waiting = session.sign(sign, own, message, { onConflict: 'wait' }).result()
    await expect(session.sign(sign, own, message)).rejects.toEqual(rv(CKR.OPERATION_ACTIVE))
    data.complete()
    expect(await waiting).toHaveLength(32)
    expect(session.active).toEqual([])
  })

  it('allow one that does not wait to begin before them', async () => {
    const { session, own, first } = await busy({})
    const waiting = session.sign(sign, own, message, { onConflict: 'wait' }).result()
    const between = new Subject<Uint8Array>()
    session.cancel(['digest'])
    const digest = session.digest(sha256, between).result()
    expect(session.active).toEqual(['digest'])
    await settled()
    expect(session.active).toEqual(['digest'])
    between.complete()
    expect(await digest).toHaveLength(32)
    expect(await waiting).toHaveLength(32)
    await expect(first).rejects.toEqual(rv(CKR.FUNCTION_CANCELED))
  })

  it('leave the queue if they are aborted or unsubscribed, and the next one begins', async () => {
    const { session, own, data } = await busy()
    const controller = new AbortController()
    const aborted = session.sign(sign, own, message).result({ signal: controller.signal })
    const events: unknown[] = []
    const subscription = session
      .sign(sign, own, message)
      .events$.subscribe({ next: (event) => events.push(event), error: (error) => events.push(error) })
    const last = session.digest(sha256, message).result()
    controller.abort(new Error('enough'))
    subscription.unsubscribe()
    await expect(aborted).rejects.toMatchObject({ rv: CKR.FUNCTION_CANCELED, cause: { message: 'enough' } })
    data.complete()
    expect(await last).toHaveLength(32)
    expect(events).toEqual([{ phase: 'awaiting-card', why: 'queued' }])
    expect(session.active).toEqual([])
  })

  it('begin at once if an earlier one is aborted and there is no other conflict', async () => {
    const { session, own, first } = await busy()
    const controller = new AbortController()
    const signing = session.sign(sign, own, message).result({ signal: controller.signal })
    const key = aesKey(session)
    const encrypting = session.encrypt(cbcPad, await key, message).result()
    await settled()
    expect(session.active).toEqual(['digest'])
    controller.abort()
    await expect(signing).rejects.toEqual(rv(CKR.FUNCTION_CANCELED))
    expect(await encrypting).toHaveLength(16)
    session.cancel()
    await expect(first).rejects.toEqual(rv(CKR.FUNCTION_CANCELED))
  })

  it('do not block the queue if they are refused at their turn', async () => {
    const { session, own, data } = await busy()
    const bad = session.sign({ type: 0x7777 } as never, own, message).result()
    const none = session.sign(sign, null as never, message).result()
    const good = session.sign(sign, own, message).result()
    data.complete()
    await expect(bad).rejects.toEqual(rv(CKR.MECHANISM_INVALID))
    await expect(none).rejects.toEqual(rv(CKR.KEY_HANDLE_INVALID))
    expect(await good).toHaveLength(32)
  })

  it('wait as a pair until both can begin', async () => {
    const { session, own, data, first } = await busy()
    const key = await aesKey(session)
    const pair = session.together(
      { type: 'sign', mechanism: sign, key: own },
      { type: 'encrypt', mechanism: cbcPad, key },
      message,
    )
    const both = pair.result()
    await settled()
    expect(session.active).toEqual(['digest'])
    data.complete()
    await first
    const [signature, output] = await both
    expect([signature.length, output.length]).toEqual([32, 16])
  })

  it.each([
    ['the same kind twice', true],
    ['any pair, on a token without dual operations', false],
  ])('are refused at once if they can never begin: %s', async (_, dualOperations) => {
    const { session, data } = await busy({ onConflict: 'wait', dualOperations })
    const digest = { type: 'digest', mechanism: sha256 } as const
    const key = await aesKey(session)
    const encrypt = { type: 'encrypt', mechanism: cbcPad, key } as const
    const never = session.together(digest, (dualOperations ? digest : encrypt) as typeof encrypt, message)
    await expect(never).rejects.toEqual(rv(CKR.OPERATION_ACTIVE))
    data.complete()
    expect(await session.digest(sha256, message)).toHaveLength(32)
  })

  it.each([
    ['the session is closed', CKR.SESSION_CLOSED],
    ['every session is closed', CKR.SESSION_CLOSED],
    ['the card is pulled', CKR.DEVICE_REMOVED],
    ['the library is closed', CKR.SESSION_CLOSED],
  ])('end with the reason if %s', async (how, reason) => {
    const { session, own, first, slot, cardSlot, cryptoki } = await busy()
    const waiting = [session.sign(sign, own, message), session.digest(sha256, message)].map((each) =>
      each.result(),
    )
    const outcomes = Promise.allSettled([first, ...waiting])
    if (how === 'the card is pulled') cardSlot.pull()
    else if (how === 'the session is closed') await session.close()
    else if (how === 'every session is closed') await slot.closeAllSessions()
    else await cryptoki.close()
    for (const outcome of await outcomes)
      expect(outcome).toMatchObject({ status: 'rejected', reason: { rv: reason } })
  })

  it('fail with CKR_KEY_HANDLE_INVALID if the user logs out before their turn', async () => {
    const { session, own, data } = await busy()
    const waiting = session.sign(sign, own, message).result()
    await session.logout()
    data.complete()
    await expect(waiting).rejects.toEqual(rv(CKR.KEY_HANDLE_INVALID))
  })

  it('begin if the conflicting one is cancelled, fails, or is ended by another Init', async () => {
    const { session, own, first } = await busy()
    const afterCancel = session.sign(sign, own, message).result()
    session.cancel(['digest'])
    await expect(first).rejects.toEqual(rv(CKR.FUNCTION_CANCELED))
    expect(await afterCancel).toHaveLength(32)

    const source = new Subject<Uint8Array>()
    const failing = session.digest(sha256, source).result()
    const afterFailure = session.sign(sign, own, message).result()
    source.error(new Error('the file is gone'))
    await expect(failing).rejects.toEqual(rv(CKR.FUNCTION_FAILED))
    expect(await afterFailure).toHaveLength(32)

    const abandoned = session.digest(sha256, new Subject<Uint8Array>()).result()
    const afterAbandon = session.digest(sha256, message).result()
    const abandoning = session.sign(sign, own, message, { onConflict: 'abandon' }).result()
    await expect(abandoned).rejects.toEqual(rv(CKR.OPERATION_NOT_INITIALIZED))
    expect(await abandoning).toHaveLength(32)
    expect(await afterAbandon).toHaveLength(32)
  })

  it('begin after an operation that is driven call by call', async () => {
    const { session, own, data, first } = await busy()
    data.complete()
    await first
    const [driven] = session.begin({ type: 'sign', mechanism: sign, key: own })
    const waiting = session.digest(sha256, message).result()
    expect(() => session.begin({ type: 'digest', mechanism: { type: CKM.SHA256 } })).toThrow(
      expect.objectContaining({ rv: CKR.OPERATION_ACTIVE }),
    )
    expect(await driven?.single(message)).toHaveLength(32)
    expect(await waiting).toHaveLength(32)
  })
})
