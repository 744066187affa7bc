import { request } from 'node:http'
import { type AddressInfo } from 'node:net'
import { type ServerType, serve } from '@hono/node-server'
import { createPivCard, readerProfiles, VirtualCcidReader, virtualUsb } from '@webtoki/simulator'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Webtoki } from 'webtoki'
import { isolatedAppOf } from '../src/isolated-app.ts'
import { relyingParty } from '../src/relying-party.ts'

const DAY_MS = 24 * 60 * 60_000
let server: ServerType
let site: string
let passed: number
let webtoki: Webtoki

beforeEach(async () => {
  passed = 0
  site = await new Promise((resolve) => {
    server = serve(
      {
        fetch: relyingParty({ isOwn: (asking) => asking === site, now: () => Date.now() + passed }).fetch,
        port: 0,
        hostname: 'localhost',
      },
      ({ port }: AddressInfo) => resolve(`http://localhost:${port}`),
    )
  })
  vi.stubGlobal('location', { origin: site })
  const reader = new VirtualCcidReader(readerProfiles.dualiAbcm6)
  reader.insert(createPivCard())
  webtoki = new Webtoki({
    usb: virtualUsb([reader]),
    pin: async () => ({ pin: new TextEncoder().encode('123456') }),
  })
})
afterEach(async () => {
  await webtoki.close()
  vi.unstubAllGlobals()
  await new Promise((resolve) => server.close(resolve))
})

/** One browser: it keeps the cookie, and says where its page is from. */
class Visitor {
  cookie: string
  readonly #origin: string

  constructor(cookie = '', from: string = site) {
    this.cookie = cookie
    this.#origin = from
  }

  async post(path: string, body = ''): Promise<Response> {
    const headers = { origin: this.#origin, ...(this.cookie === '' ? {} : { cookie: this.cookie }) }
    const response = await fetch(site + path, { method: 'POST', headers, body })
    const set = response.headers.get('set-cookie')
    if (set !== null) this.cookie = set.split(';')[0] ?? ''
    return response
  }

  async token(): Promise<string> {
    const { nonce } = (await (await this.post('/api/nonce')).json()) as { nonce: string }
    return webtoki.login(nonce)
  }

  async person(): Promise<unknown> {
    return ((await (await this.post('/api/person')).json()) as { identity: unknown }).identity
  }
}

/** What the site answers to a path as it stands, which fetch might mend. */
function statusOf(path: string): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(site)
    request({ hostname, port, path }, (response) => {
      response.resume()
      resolve(response.statusCode)
    })
      .once('error', reject)
      .end()
  })
}

describe('the relying party, over HTTP', () => {
  it('lets a person in, knows who it is, and forgets at logout', async () => {
    const visitor = new Visitor()
    const login = await visitor.post('/api/login', await visitor.token())
    expect(login.status).toBe(200)
    expect(login.headers.get('set-cookie')).toMatch(/HttpOnly.*SameSite=Strict/)
    expect(await visitor.person()).toMatchObject({ issuer: expect.any(String) })
    const kept = visitor.cookie
    await visitor.post('/api/logout')
    expect(visitor.cookie).toBe('webtoki-session=')
    expect(await new Visitor(kept).person()).toBeNull()
  })

  it('forgets a person after a while', async () => {
    const visitor = new Visitor()
    await visitor.post('/api/login', await visitor.token())
    expect(await visitor.person()).not.toBeNull()
    passed = DAY_MS
    expect(await visitor.person()).toBeNull()
  })

  it('answers no page of another origin, and none that does not say whose it is', async () => {
    for (const path of ['/api/nonce', '/api/login', '/api/person', '/api/logout']) {
      expect((await new Visitor('', 'https://evil.example').post(path)).status).toBe(403)
      expect((await fetch(site + path, { method: 'POST' })).status).toBe(403)
    }
  })

  it('lets no cache keep an answer, of whatever kind', async () => {
    const visitor = new Visitor()
    const answers = [
      await visitor.post('/api/nonce'),
      await visitor.post('/api/login', 'nonsense'),
      await visitor.post('/api/person'),
      await visitor.post('/api/logout'),
      await visitor.post('/api/nothing'),
      await visitor.post('/api/login', 'x'.repeat(20_000)),
      await new Visitor('', 'https://elsewhere.example').post('/api/nonce'),
      await fetch(`${site}/api/nonce`),
    ]
    expect(answers.map(({ status }) => status)).toEqual([200, 401, 200, 200, 404, 413, 403, 403])
    for (const { headers } of answers) expect(headers.get('cache-control')).toBe('no-store')
  })

  it('takes a token once', async () => {
    const visitor = new Visitor()
    const token = await visitor.token()
    const before = visitor.cookie
    expect((await visitor.post('/api/login', token)).status).toBe(200)
    for (const again of [visitor, new Visitor(before), new Visitor()]) {
      const refused = await again.post('/api/login', token)
      expect(refused.status).toBe(401)
      expect(await refused.json()).toMatchObject({ reason: 'nonce-missing' })
    }
  })

  it('takes no session name that it did not issue, and gives a new one at login', async () => {
    const planted = `webtoki-session=${'ab'.repeat(32)}`
    const visitor = new Visitor(planted)
    const token = await visitor.token()
    const before = visitor.cookie
    expect(before).not.toBe(planted)
    expect((await visitor.post('/api/login', token)).status).toBe(200)
    expect(visitor.cookie).not.toBe(before)
    expect(await visitor.person()).not.toBeNull()
    // Whoever planted a name, or read the one from before the login, is nobody.
    for (const known of [planted, before]) expect(await new Visitor(known).person()).toBeNull()
  })

  it('reads no more than a token could be', async () => {
    const visitor = new Visitor()
    await visitor.token()
    expect((await visitor.post('/api/login', 'x'.repeat(20_000))).status).toBe(413)
  })

  it.each(['/%', '/%E0%A4%A', '/%zz.html'])('answers %s, which is no path, with 400', async (path) => {
    expect(await statusOf(path)).toBe(400)
  })
})

describe('every answer of the site', () => {
  it.each(['/', '/nothing.html', '/api/person'])(
    'keeps other pages, inline code and other origins out: %s',
    async (path) => {
      const { headers } = await fetch(site + path, { method: path.startsWith('/api') ? 'POST' : 'GET' })
      const policy = (headers.get('content-security-policy') ?? '').split('; ')
      expect(policy).toEqual([
        "default-src 'none'",
        "script-src 'self' 'wasm-unsafe-eval'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "worker-src 'self'",
        "manifest-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        'trusted-types webtoki-demo-worker',
      ])
      expect(Object.fromEntries(headers)).toMatchObject({
        'permissions-policy': 'usb=(self), hid=(self), camera=(), microphone=(), geolocation=()',
        'cross-origin-opener-policy': 'same-origin',
        'cross-origin-embedder-policy': 'require-corp',
        'cross-origin-resource-policy': 'same-origin',
        'referrer-policy': 'no-referrer',
        'x-content-type-options': 'nosniff',
      })
    },
  )

  it.each(['/../tsconfig.json', '/..%2ftsconfig.json', '/assets/%2e%2e%2f..%2ftsconfig.json', '/assets'])(
    'is never a file beside the page’s: %s',
    async (path) => {
      expect(await statusOf(path)).toBe(404)
    },
  )
})

describe('an isolated app’s site', () => {
  const id = `${'a'.repeat(51)}aaaac`
  const other = `isolated-app://${'b'.repeat(51)}aaaac`

  it('answers one app alone where its id is known', () => {
    expect(isolatedAppOf(id)(`isolated-app://${id}`)).toBe(true)
    expect(isolatedAppOf(id)(other)).toBe(false)
    expect(isolatedAppOf(undefined)(other)).toBe(true)
    expect(isolatedAppOf(undefined)('https://example.org')).toBe(false)
    for (const odd of [
      `${other}.example`,
      `https://${'b'.repeat(51)}aaaac`,
      `x-${other}`,
      'isolated-app://short',
    ])
      expect(isolatedAppOf(undefined)(odd)).toBe(false)
    expect(isolatedAppOf(id)(`https://${id}`)).toBe(false)
    expect(() => isolatedAppOf('short')).toThrow(RangeError)
  })

  it('lets the app’s pages read its answers and keep its cookie, and no others', async () => {
    const app = relyingParty({ isOwn: isolatedAppOf(id), isCrossSite: true })
    const ask = (origin: string) => app.request('/api/nonce', { method: 'POST', headers: { origin } })
    const own = await ask(`isolated-app://${id}`)
    expect(own.status).toBe(200)
    expect(Object.fromEntries(own.headers)).toMatchObject({
      'access-control-allow-origin': `isolated-app://${id}`,
      'access-control-allow-credentials': 'true',
    })
    // Without these a browser keeps no cookie of a site within another's page.
    expect(own.headers.get('set-cookie')).toMatch(/HttpOnly; Secure; SameSite=None; Partitioned$/)
    const strange = await ask(other)
    expect(strange.status).toBe(403)
    expect(strange.headers.get('access-control-allow-origin')).toBeNull()
    expect(strange.headers.get('set-cookie')).toBeNull()
  })
})

describe('whose page asks', () => {
  it.each([
    ['undefined', undefined],
    ['null', null],
    ['{}', {}],
    ['[]', []],
    ["''", ''],
    ["'no'", 'no'],
    ['0', 0],
    ['1', 1],
    ['NaN', Number.NaN],
    ['a promise of false', Promise.resolve(false)],
    ['a promise of true', Promise.resolve(true)],
  ])('is the site’s own only if the answer is true, and not if it is %s', async (_name, answer) => {
    const app = relyingParty({ isOwn: () => answer as boolean, isCrossSite: true })
    const asked = await app.request('/api/nonce', {
      method: 'POST',
      headers: { origin: 'https://another.example' },
    })
    expect(asked.status).toBe(403)
    expect(asked.headers.get('access-control-allow-origin')).toBeNull()
    expect(asked.headers.get('set-cookie')).toBeNull()
  })
})
