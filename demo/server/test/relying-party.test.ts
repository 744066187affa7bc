/** Tests the relying party over HTTP: logins, sessions, refused origins and security headers. */
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
        fetch: relyingParty({ isOwn: (origin) => origin === site, now: () => Date.now() + passed }).fetch,
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

/** A browser with one page: keeps the site's cookie and sends the page's origin. */
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

/** Requests a path without changes and resolves to the status. `fetch` would normalize the path. */
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
  it('logs a person in, returns their identity, and forgets it at logout', async () => {
    const visitor = new Visitor()
    const login = await visitor.post('/api/login', await visitor.token())
    expect(login.status).toBe(200)
    expect(login.headers.get('set-cookie')).toMatch(/HttpOnly.*SameSite=Strict/)
    expect(await visitor.person()).toMatchObject({ issuer: expect.any(String) })
    const oldCookie = visitor.cookie
    await visitor.post('/api/logout')
    expect(visitor.cookie).toBe('webtoki-session=')
    expect(await new Visitor(oldCookie).person()).toBeNull()
  })

  it('forgets a person after a day', async () => {
    const visitor = new Visitor()
    await visitor.post('/api/login', await visitor.token())
    expect(await visitor.person()).not.toBeNull()
    passed = DAY_MS
    expect(await visitor.person()).toBeNull()
  })

  it('refuses requests of another origin and requests without an origin', async () => {
    for (const path of ['/api/nonce', '/api/login', '/api/person', '/api/logout']) {
      expect((await new Visitor('', 'https://evil.example').post(path)).status).toBe(403)
      expect((await fetch(site + path, { method: 'POST' })).status).toBe(403)
    }
  })

  it('sends Cache-Control: no-store with every response, errors too', async () => {
    const visitor = new Visitor()
    const responses = [
      await visitor.post('/api/nonce'),
      await visitor.post('/api/login', 'nonsense'),
      await visitor.post('/api/person'),
      await visitor.post('/api/logout'),
      await visitor.post('/api/nothing'),
      await visitor.post('/api/login', 'x'.repeat(20_000)),
      await new Visitor('', 'https://elsewhere.example').post('/api/nonce'),
      await fetch(`${site}/api/nonce`),
    ]
    expect(responses.map(({ status }) => status)).toEqual([200, 401, 200, 200, 404, 413, 403, 403])
    for (const { headers } of responses) expect(headers.get('cache-control')).toBe('no-store')
  })

  it('accepts a login token only once', async () => {
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

  it('ignores a session name that it did not issue, and issues a new one at login', async () => {
    const planted = `webtoki-session=${'ab'.repeat(32)}`
    const visitor = new Visitor(planted)
    const token = await visitor.token()
    const before = visitor.cookie
    expect(before).not.toBe(planted)
    expect((await visitor.post('/api/login', token)).status).toBe(200)
    expect(visitor.cookie).not.toBe(before)
    expect(await visitor.person()).not.toBeNull()
    // An attacker who set a session name, or knows the one from before the login, is not logged in.
    for (const known of [planted, before]) expect(await new Visitor(known).person()).toBeNull()
  })

  it('refuses a request body that is longer than a login token can be', async () => {
    const visitor = new Visitor()
    await visitor.token()
    expect((await visitor.post('/api/login', 'x'.repeat(20_000))).status).toBe(413)
  })

  it.each(['/%', '/%E0%A4%A', '/%zz.html'])('responds to the malformed path %s with 400', async (path) => {
    expect(await statusOf(path)).toBe(400)
  })
})

describe('every response of the site', () => {
  it.each(['/', '/nothing.html', '/api/person'])('has the security headers, also for %s', async (path) => {
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
  })

  it.each(['/../tsconfig.json', '/..%2ftsconfig.json', '/assets/%2e%2e%2f..%2ftsconfig.json', '/assets'])(
    'is 404 for a path outside the build folder: %s',
    async (path) => {
      expect(await statusOf(path)).toBe(404)
    },
  )
})

describe('the site of an isolated app', () => {
  const id = `${'a'.repeat(51)}aaaac`
  const other = `isolated-app://${'b'.repeat(51)}aaaac`

  it('accepts only the app with the given id, or any isolated app without an id', () => {
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

  it('lets only the app’s pages read its responses and store its cookie', async () => {
    const app = relyingParty({ isOwn: isolatedAppOf(id), isCrossSite: true })
    const send = (origin: string) => app.request('/api/nonce', { method: 'POST', headers: { origin } })
    const own = await send(`isolated-app://${id}`)
    expect(own.status).toBe(200)
    expect(Object.fromEntries(own.headers)).toMatchObject({
      'access-control-allow-origin': `isolated-app://${id}`,
      'access-control-allow-credentials': 'true',
    })
    // Without these attributes a browser does not store a cookie of another site than the page's.
    expect(own.headers.get('set-cookie')).toMatch(/HttpOnly; Secure; SameSite=None; Partitioned$/)
    const foreign = await send(other)
    expect(foreign.status).toBe(403)
    expect(foreign.headers.get('access-control-allow-origin')).toBeNull()
    expect(foreign.headers.get('set-cookie')).toBeNull()
  })
})

describe('the relying party', () => {
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
  ])('refuses a request if isOwn returns %s instead of true', async (_name, result) => {
    const app = relyingParty({ isOwn: () => result as boolean, isCrossSite: true })
    const response = await app.request('/api/nonce', {
      method: 'POST',
      headers: { origin: 'https://another.example' },
    })
    expect(response.status).toBe(403)
    expect(response.headers.get('access-control-allow-origin')).toBeNull()
    expect(response.headers.get('set-cookie')).toBeNull()
  })
})
