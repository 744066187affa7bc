/** A card with several tokens: a slot and a login for each (PKCS#11 v2.40, 5.5 and 5.6). */
import {
  CKA,
  CKM,
  CKO,
  type CkObject,
  CKR,
  CKS,
  CKU,
  Cryptoki,
  type CryptokiOptions,
  type Session,
  type Slot,
  type TokenDriver,
} from '@webtoki/cryptoki'
import { MalformedError, type Presence } from '@webtoki/apdu'
import { firstValueFrom } from 'rxjs'
import { describe, expect, it, vi } from 'vitest'
import { rv } from './memory-setup.ts'
import {
  ChangingSlot,
  pinOf,
  SeveralTokenCard,
  SeveralTokenDriver,
  type TokenSpec,
} from './several-token-card.ts'

const plain = { type: CKM.RSA_PKCS }
const message = Uint8Array.of(1, 2, 3)
/** Two applications with a PIN each, and one application with two PINs. */
const applications: readonly TokenSpec[] = [
  { application: 1, pin: 1 },
  { application: 2, pin: 2 },
]
const pins: readonly TokenSpec[] = [
  { application: 1, pin: 1 },
  { application: 1, pin: 2 },
]

async function insert(
  specs: readonly TokenSpec[],
  options: Partial<CryptokiOptions> & { readonly canLogOut?: boolean } = {},
) {
  const { canLogOut = true, ...rest } = options
  const cardSlot = new ChangingSlot()
  const card = new SeveralTokenCard(specs, canLogOut)
  cardSlot.insert(card)
  const cryptoki = new Cryptoki({
    sources: [cardSlot],
    drivers: [new SeveralTokenDriver(specs, canLogOut)],
    ...rest,
  })
  const [first] = await firstValueFrom(cryptoki.slots$)
  await first?.tokenInfo()
  const [one, two] = await firstValueFrom(cryptoki.slots$)
  if (one === undefined || two === undefined) throw new Error('Two slots expected.')
  return { cardSlot, card, cryptoki, one, two }
}

function open(slot: Slot, pin: number, options: { application?: object } = {}): Promise<Session> {
  return slot.openSession({ pin: async () => ({ pin: pinOf(pin) }), ...options })
}

async function keyOf(session: Session): Promise<CkObject> {
  const [key] = await session.findObjects({ [CKA.CLASS]: CKO.PRIVATE_KEY })
  if (key === undefined) throw new Error('No private key found.')
  return key
}

const signs = async (session: Session): Promise<number> =>
  (await session.sign(plain, await keyOf(session), message))[0] as number

describe('a card with one application that returns malformed data', () => {
  const broken: TokenDriver = {
    name: 'broken',
    open: () => Promise.reject(new MalformedError('application data', 'no whole object')),
  }

  async function slotWith(drivers: readonly TokenDriver[]): Promise<Slot> {
    const cardSlot = new ChangingSlot()
    cardSlot.insert(new SeveralTokenCard([applications[0] as TokenSpec]))
    const [slot] = await firstValueFrom(new Cryptoki({ sources: [cardSlot], drivers }).slots$)
    if (slot === undefined) throw new Error('No slot found.')
    return slot
  }

  it.each([0, 1])('can be used through the other driver, whichever comes first: %i', async (at) => {
    const working = new SeveralTokenDriver([applications[0] as TokenSpec])
    const slot = await slotWith(at === 0 ? [broken, working] : [working, broken])
    expect(await signs(await loggedIn(slot, 1))).toBe(1)
  })

  it("returns the driver's error if no other driver recognizes the card", async () => {
    const slot = await slotWith([broken])
    await expect(slot.openSession()).rejects.toMatchObject({ cause: { code: 'wire/malformed' } })
  })
})

describe('a card with two tokens', () => {
  it('has one slot until it is first used, then one for each token', async () => {
    const cardSlot = new ChangingSlot()
    cardSlot.insert(new SeveralTokenCard(applications))
    const cryptoki = new Cryptoki({ sources: [cardSlot], drivers: [new SeveralTokenDriver(applications)] })
    const lists: string[][] = []
    cryptoki.slots$.subscribe((slots) => lists.push(slots.map(({ id, name }) => `${id}: ${name}`)))
    const [first] = await firstValueFrom(cryptoki.slots$)
    await first?.openSession()
    const [one] = await firstValueFrom(cryptoki.slots$)
    expect(one).toBe(first)
    expect(lists).toEqual([['reader: Reader'], ['reader: Reader', 'reader/2: Reader, token 2']])
  })

  it('replaced by one with one token leaves the second slot empty until it is inserted again', async () => {
    const { cardSlot, cryptoki, one, two } = await insert(applications)
    const presences: Presence[] = []
    two.presence$.subscribe((presence) => presences.push(presence))
    const session = await open(two, 2)
    cardSlot.pull()
    expect(await session.ended).toEqual(rv(CKR.DEVICE_REMOVED))
    await expect(two.openSession()).rejects.toEqual(rv(CKR.TOKEN_NOT_PRESENT))
    cardSlot.insert(new SeveralTokenCard([applications[0] as TokenSpec]))
    expect(await signs(await loggedIn(one, 1))).toBe(1)
    expect(await firstValueFrom(cryptoki.slots$)).toEqual([one, two])
    await expect(two.openSession()).rejects.toEqual(rv(CKR.TOKEN_NOT_PRESENT))
    await expect(two.tokenInfo()).rejects.toEqual(rv(CKR.TOKEN_NOT_PRESENT))
    expect(await firstValueFrom(two.presence$)).toBe('empty')
    cardSlot.pull()
    cardSlot.insert(new SeveralTokenCard(applications))
    expect(await signs(await loggedIn(two, 2))).toBe(2)
    expect(presences).toEqual(['present', 'empty', 'present'])
  })

  it.each([
    ['two applications', applications],
    ['two PINs of one application', pins],
  ])('has a login for each: %s', async (_, specs) => {
    const { card, one, two } = await insert(specs)
    const [first, second] = [await open(one, 1), await open(two, 2)]
    await first.login(CKU.USER)
    expect([first.state, second.state]).toEqual([CKS.RO_USER_FUNCTIONS, CKS.RO_PUBLIC_SESSION])
    expect(await second.findObjects({ [CKA.CLASS]: CKO.PRIVATE_KEY })).toEqual([])
    const key = await keyOf(first)
    await expect(second.sign(plain, key, message)).rejects.toEqual(rv(CKR.KEY_HANDLE_INVALID))
    await expect(second.login(CKU.USER, async () => ({ pin: pinOf(1) }))).rejects.toEqual(
      rv(CKR.PIN_INCORRECT),
    )
    await second.login(CKU.USER)
    expect(await signs(second)).toBe(2)
    await second.logout()
    expect(second.state).toBe(CKS.RO_PUBLIC_SESSION)
    expect(first.state).toBe(CKS.RO_USER_FUNCTIONS)
    expect(card.verified.has(2)).toBe(false)
  })

  it('of one application keeps one login when the other one logs out', async () => {
    const { card, one, two } = await insert(pins)
    const [first, second] = [await loggedIn(one, 1), await loggedIn(two, 2)]
    expect(card.verified).toEqual(new Set([1, 2]))
    await second.logout()
    expect([...card.verified]).toEqual([1])
    expect(await signs(first)).toBe(1)
    await first.close()
    expect(card.verified.size).toBe(0)
  })

  it.each([
    ['two applications', applications],
    ['two PINs of one application', pins],
  ])('that cannot log out is reset after the last logout: %s', async (_, specs) => {
    const { card, one, two } = await insert(specs, { canLogOut: false })
    const [first, second] = [await loggedIn(one, 1), await loggedIn(two, 2)]
    await first.logout()
    expect(first.state).toBe(CKS.RO_PUBLIC_SESSION)
    expect(card.log.filter((entry) => entry === 'reset')).toEqual([])
    expect(await signs(second)).toBe(2)
    await second.logout()
    expect(card.log.filter((entry) => entry === 'reset')).toHaveLength(1)
    expect(card.verified.size).toBe(0)
    // After the reset a new login works.
    await first.login(CKU.USER)
    expect(await signs(first)).toBe(1)
  })

  it('delays its reset for a login that was made again', async () => {
    const { card, one, two } = await insert(pins, { canLogOut: false })
    const [first, second] = [await loggedIn(one, 1), await loggedIn(two, 2)]
    await first.logout()
    await first.login(CKU.USER)
    await second.logout()
    expect(card.log.includes('reset')).toBe(false)
    expect(await signs(first)).toBe(1)
    await first.logout()
    expect(card.verified.size).toBe(0)
  })

  it('delays a logout that needs another SELECT until the other token logs out', async () => {
    const { card, one, two } = await insert(applications)
    const [first, second] = [await loggedIn(one, 1), await loggedIn(two, 2)]
    await first.close()
    expect(card.log.includes('logout 1')).toBe(false)
    expect(await signs(second)).toBe(2)
    await second.logout()
    expect(card.log.filter((entry) => entry.startsWith('logout'))).toEqual(['logout 1', 'logout 2'])
    expect(card.verified.size).toBe(0)
  })

  it('reports known values of one token without a SELECT while the other one is logged in', async () => {
    const { card, one, two } = await insert(applications)
    const first = await loggedIn(one, 1)
    const sent = card.log.length
    expect((await two.tokenInfo()).label).toBe('token 2')
    expect(card.log.length).toBe(sent)
    expect(await signs(first)).toBe(1)
    await first.logout()
    expect((await two.tokenInfo()).label).toBe('label 2')
    await loggedIn(one, 1)
    // Known since the first read.
    expect((await two.tokenInfo()).label).toBe('label 2')
  })

  it('selects the application of each use, and repeats a lost login on demand', async () => {
    const { card, one, two } = await insert(applications, { login: 'on-demand' })
    const [first, second] = [await open(one, 1), await open(two, 2)]
    const results: number[] = []
    for (const session of [first, second, second, first]) results.push(await signs(session))
    expect(results).toEqual([1, 2, 2, 1])
    const used = card.log.filter((entry) => !entry.startsWith('label'))
    expect(used.slice(used.indexOf('verify 1') - 1)).toEqual([
      ...['select 1', 'verify 1', 'sign 1'],
      ...['select 2', 'verify 2', 'sign 2', 'sign 2'],
      ...['select 1', 'verify 1', 'sign 1'],
    ])
  })

  it("reports a login lost by the other token's SELECT, and ends its private handles", async () => {
    const { one, two } = await insert(applications)
    const first = await loggedIn(one, 1)
    const key = await keyOf(first)
    await loggedIn(two, 2)
    await expect(first.sign(plain, key, message)).rejects.toEqual(rv(CKR.USER_NOT_LOGGED_IN))
    expect(first.state).toBe(CKS.RO_PUBLIC_SESSION)
    await expect(first.sign(plain, key, message)).rejects.toEqual(rv(CKR.KEY_HANDLE_INVALID))
    await first.login(CKU.USER)
    expect(await signs(first)).toBe(1)
  })

  it('serves both at once, in the order of their calls', async () => {
    const { one, two } = await insert(pins)
    const [first, second] = [await loggedIn(one, 1), await loggedIn(two, 2)]
    const [firstKey, secondKey] = [await keyOf(first), await keyOf(second)]
    const all = [first.sign(plain, firstKey, message), second.sign(plain, secondKey, message)]
    expect((await Promise.all(all)).map((signature) => signature[0])).toEqual([1, 2])
  })
})

async function loggedIn(slot: Slot, pin: number, options: { application?: object } = {}): Promise<Session> {
  const session = await open(slot, pin, options)
  await session.login(CKU.USER)
  return session
}

describe('two PKCS#11 applications on one card', () => {
  const [firstApplication, secondApplication] = [{}, {}]
  const one: readonly TokenSpec[] = [applications[0] as TokenSpec]

  async function both(options: Parameters<typeof insert>[1] = {}) {
    const cardSlot = new ChangingSlot()
    const card = new SeveralTokenCard(one, options.canLogOut)
    cardSlot.insert(card)
    const { canLogOut: _, ...rest } = options
    const cryptoki = new Cryptoki({
      sources: [cardSlot],
      drivers: [new SeveralTokenDriver(one, options.canLogOut)],
      ...rest,
    })
    const [slot] = await firstValueFrom(cryptoki.slots$)
    if (slot === undefined) throw new Error('No slot found.')
    const first = await open(slot, 1, { application: firstApplication })
    const second = await open(slot, 1, { application: secondApplication })
    return { cardSlot, card, cryptoki, slot, first, second }
  }

  it('have separate logins although the card is verified for one of them', async () => {
    const { card, first, second, slot } = await both()
    await first.login(CKU.USER)
    expect(second.state).toBe(CKS.RO_PUBLIC_SESSION)
    expect(await second.findObjects({ [CKA.CLASS]: CKO.PRIVATE_KEY })).toEqual([])
    const key = await keyOf(first)
    await expect(second.sign(plain, key, message)).rejects.toEqual(rv(CKR.KEY_HANDLE_INVALID))
    expect(card.log.filter((entry) => entry.startsWith('sign'))).toEqual([])
    await expect(second.logout()).rejects.toEqual(rv(CKR.USER_NOT_LOGGED_IN))
    // Another session of the first application is logged in from the start.
    expect((await open(slot, 1, { application: firstApplication })).state).toBe(CKS.RO_USER_FUNCTIONS)
    await second.login(CKU.USER)
    expect(await signs(second)).toBe(1)
  })

  it('share no handles and no session objects', async () => {
    const { first, second } = await both()
    await first.login(CKU.USER)
    await second.login(CKU.USER)
    const aes = await first.createObject({
      [CKA.CLASS]: CKO.SECRET_KEY,
      [CKA.KEY_TYPE]: 0x1f,
      [CKA.VALUE]: new Uint8Array(16),
      [CKA.ENCRYPT]: true,
    })
    expect(await second.findObjects({ [CKA.CLASS]: CKO.SECRET_KEY })).toEqual([])
    const mechanism = { type: CKM.AES_ECB }
    await expect(second.encrypt(mechanism, aes, new Uint8Array(16))).rejects.toEqual(
      rv(CKR.KEY_HANDLE_INVALID),
    )
    expect(() => second.destroyObject(aes)).toThrow(
      expect.objectContaining({ rv: CKR.OBJECT_HANDLE_INVALID }),
    )
    expect(await keyOf(first)).not.toBe(await keyOf(second))
    await second.close()
    expect(await first.encrypt(mechanism, aes, new Uint8Array(16))).toHaveLength(16)
  })

  it.each([true, false])(
    'log out separately, and the card with the last of them (card can log out: %s)',
    async (canLogOut) => {
      const { card, first, second } = await both({ canLogOut })
      await first.login(CKU.USER)
      await second.login(CKU.USER)
      const key = await keyOf(first)
      await first.logout()
      expect([card.verified.has(1), second.state]).toEqual([true, CKS.RO_USER_FUNCTIONS])
      await expect(first.sign(plain, key, message)).rejects.toEqual(rv(CKR.KEY_HANDLE_INVALID))
      expect(await signs(second)).toBe(1)
      await second.close()
      expect(card.verified.size).toBe(0)
    },
  )

  it.each([
    ['succeeds', { pin: pinOf(1) }, 1],
    ['is cancelled', undefined, 0],
  ] as const)('can log out while the other one logs in, which %s', async (_, entry, verified) => {
    const { card, first, second } = await both()
    await first.login(CKU.USER)
    let give!: (pin: typeof entry) => void
    const given = new Promise<typeof entry>((resolve) => void (give = resolve))
    const login = second.login(CKU.USER, () => given)
    await first.logout()
    expect(card.verified.size).toBe(1)
    give(entry)
    await login.catch(() => {})
    await vi.waitFor(() => expect(card.verified.size).toBe(verified))
    expect(second.state).toBe(verified === 1 ? CKS.RO_USER_FUNCTIONS : CKS.RO_PUBLIC_SESSION)
  })

  it('with on-demand logins request their own PIN each, and keep the login', async () => {
    const { card, first, second } = await both({ login: 'on-demand' })
    expect(await signs(first)).toBe(1)
    expect(await signs(second)).toBe(1)
    expect(await signs(first)).toBe(1)
    expect(card.log.filter((entry) => entry.startsWith('verify'))).toEqual(['verify 1', 'verify 1'])
    const refusing = second.sign(plain, await keyOf(second), message, { pin: async () => undefined })
    expect(await refusing).toHaveLength(2)
    await first.close()
    expect(await signs(second)).toBe(1)
    expect(card.log.filter((entry) => entry.startsWith('verify'))).toHaveLength(2)
    await second.close()
    expect(card.verified.size).toBe(0)
  })

  it('close the sessions of one without those of the other', async () => {
    const { card, slot, first, second } = await both()
    await first.login(CKU.USER)
    await second.login(CKU.USER)
    await slot.closeAllSessions({ application: firstApplication })
    expect(() => first.state).toThrow(expect.objectContaining({ rv: CKR.SESSION_HANDLE_INVALID }))
    expect(await first.ended).toEqual(rv(CKR.SESSION_CLOSED))
    expect(await signs(second)).toBe(1)
    expect((await open(slot, 1, { application: firstApplication })).state).toBe(CKS.RO_PUBLIC_SESSION)
    await slot.closeAllSessions({ application: secondApplication })
    expect(card.verified.size).toBe(0)
    expect(card.log.includes('off')).toBe(false)
    await slot.closeAllSessions()
    expect(card.log.at(-1)).toBe('off')
  })

  it('can both log in again after a wrong PIN of one ended the login on the card', async () => {
    const { card, first, second } = await both()
    await first.login(CKU.USER)
    const key = await keyOf(first)
    await expect(second.login(CKU.USER, async () => ({ pin: pinOf(9) }))).rejects.toEqual(
      rv(CKR.PIN_INCORRECT),
    )
    expect(card.verified.size).toBe(0)
    expect(first.state).toBe(CKS.RO_USER_FUNCTIONS)
    await first.login(CKU.USER)
    expect(await first.sign(plain, key, message)).toHaveLength(2)
  })

  it('keep a login when the other one cancels its own', async () => {
    const { card, first, second } = await both()
    await first.login(CKU.USER)
    await expect(second.login(CKU.USER, () => undefined)).rejects.toEqual(rv(CKR.FUNCTION_CANCELED))
    expect(card.verified.size).toBe(1)
    expect(await signs(first)).toBe(1)
    await second.close()
    expect(await signs(first)).toBe(1)
  })

  it('keep a login that succeeds while the other one logs out', async () => {
    const { card, first, second } = await both()
    await first.login(CKU.USER)
    const [login] = await Promise.allSettled([second.login(CKU.USER), first.logout()])
    expect(login.status).toBe('fulfilled')
    expect(card.verified.size).toBe(1)
    expect(await signs(second)).toBe(1)
  })

  it('end both when the card is pulled', async () => {
    const { cardSlot, first, second } = await both()
    await first.login(CKU.USER)
    await second.login(CKU.USER)
    cardSlot.pull()
    expect([await first.ended, await second.ended]).toEqual([rv(CKR.DEVICE_REMOVED), rv(CKR.DEVICE_REMOVED)])
  })
})
