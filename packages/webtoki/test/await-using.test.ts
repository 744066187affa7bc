/** `await using` closes sessions, libraries and `Webtoki`, also in browsers without `Symbol.asyncDispose`. */
import { CKM, CKR, type Cryptoki, type Session } from '@webtoki/cryptoki'
import { firstValueFrom, lastValueFrom, Subject } from 'rxjs'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { Webtoki } from 'webtoki'
import { MemorySlot, SoftwareDriver } from '../../cryptoki/test/software-token.ts'

const nobody = async () => undefined
afterEach(() => {
  vi.unstubAllGlobals()
  vi.resetModules()
})

/** Imports the modules again, so that the test decides which symbols the platform has. */
async function openSession(): Promise<{ cryptoki: Cryptoki; session: Session }> {
  const { Cryptoki } = await import('@webtoki/cryptoki')
  const drivers = [new SoftwareDriver()]
  const cryptoki = new Cryptoki({ sources: [new MemorySlot()], drivers })
  const [slot] = await firstValueFrom(cryptoki.slots$)
  if (slot === undefined) throw new Error('There is no slot.')
  return { cryptoki, session: await slot.openSession() }
}

describe('leaving a block with `await using`', () => {
  it('closes a session, and ends its operations with CKR_SESSION_CLOSED', async () => {
    const { session: opened } = await openSession()
    let digest: Promise<Uint8Array> | undefined
    {
      await using session = opened
      digest = session.digest({ type: CKM.SHA256 }, new Subject<Uint8Array>()).result()
      digest.catch(() => {})
    }
    await expect(digest).rejects.toMatchObject({ rv: CKR.SESSION_CLOSED })
    expect(() => opened.state).toThrow('CKR_SESSION_HANDLE_INVALID')
  })

  it('closes a Cryptoki library and all its sessions, also if the block throws', async () => {
    const { cryptoki: opened, session } = await openSession()
    const thrown = new Error('in the block')
    const block = async () => {
      await using cryptoki = opened
      await firstValueFrom(cryptoki.slots$)
      throw thrown
    }
    await expect(block()).rejects.toBe(thrown)
    expect(() => session.state).toThrow('CKR_CRYPTOKI_NOT_INITIALIZED')
  })

  it('closes a Webtoki, whose `activity$` completes', async () => {
    const completed = await (async () => {
      await using webtoki = new Webtoki({ pin: nobody })
      return { end: lastValueFrom(webtoki.activity$, { defaultValue: 'completed' }) }
    })()
    expect(await completed.end).toBe('completed')
  })
})

it('compiled `await using` closes in a browser without Symbol.asyncDispose', async () => {
  const older = Object.setPrototypeOf(Symbol.bind(undefined), Symbol) as object
  Object.defineProperty(older, 'asyncDispose', { value: undefined })
  vi.stubGlobal('Symbol', older)
  vi.resetModules()
  const { session } = await openSession()
  const { Webtoki } = await import('webtoki')
  for (const each of [session, new Webtoki({ pin: nobody })]) {
    // What esbuild and Babel look for there.
    const close = Reflect.get(each, Symbol.for('Symbol.asyncDispose')) as () => Promise<void>
    await close.call(each)
    expect('undefined' in each).toBe(false)
  }
  expect(() => session.state).toThrow('CKR_SESSION_HANDLE_INVALID')
})
