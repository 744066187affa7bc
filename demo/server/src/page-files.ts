/** The built page, with the headers that a page which holds a card should have. */
import { readFile } from 'node:fs/promises'
import { extname, join, normalize } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Context, MiddlewareHandler } from 'hono'

const folder = fileURLToPath(new URL('../page/', import.meta.url))

const types: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.json': 'application/json',
  '.txt': 'text/plain; charset=utf-8',
  '.webmanifest': 'application/manifest+json',
}

/** Nothing inline, nothing from elsewhere, no string becomes code, one worker has a policy; WebAssembly for the digests alone. */
const policy = (connect: string): string =>
  [
    "default-src 'none'",
    "script-src 'self' 'wasm-unsafe-eval'",
    "style-src 'self'",
    "img-src 'self'",
    `connect-src 'self' ${connect}`.trim(),
    "worker-src 'self'",
    "manifest-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    'trusted-types webtoki-demo-worker',
  ].join('; ')

/** For every answer. `connect`: a further origin that the page may ask. */
export const secureHeaders =
  (connect = ''): MiddlewareHandler =>
  async (context, next) => {
    await next()
    context.header('content-security-policy', policy(connect))
    context.header('permissions-policy', 'usb=(self), hid=(self), camera=(), microphone=(), geolocation=()')
    context.header('cross-origin-opener-policy', 'same-origin')
    context.header('cross-origin-embedder-policy', 'require-corp')
    context.header('cross-origin-resource-policy', 'same-origin')
    context.header('referrer-policy', 'no-referrer')
    context.header('x-content-type-options', 'nosniff')
  }

/** Serves the folder of the build, and nothing beside it. */
export const pageFiles: MiddlewareHandler = (context) => pageFile(context, new URL(context.req.url).pathname)

/** One file of it, by its path in an address. */
export async function pageFile(context: Context, pathname: string): Promise<Response> {
  const wanted = decoded(pathname)
  if (wanted === undefined) return context.text('That is no path.', 400)
  // It begins with a slash: '..' leads no higher than that.
  const path = normalize(wanted.endsWith('/') ? `${wanted}index.html` : wanted)
  const type = types[extname(path)]
  if (type === undefined) return context.text('Not found.', 404)
  try {
    const bytes = await readFile(join(folder, path))
    const cache = path.startsWith('/assets/') ? 'public, max-age=31536000, immutable' : 'no-cache'
    return context.body(new Uint8Array(bytes), 200, { 'content-type': type, 'cache-control': cache })
  } catch {
    return context.text('Not found.', 404)
  }
}

function decoded(path: string): string | undefined {
  try {
    return decodeURIComponent(path)
  } catch {
    return undefined
  }
}
