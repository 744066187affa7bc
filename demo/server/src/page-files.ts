/** Serves the built page, with the security headers for a page that uses a smartcard. */
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

/**
 * The Content Security Policy: no inline code, no other origins, and no strings as scripts except through the Trusted Types
 * policy for the workers' URLs. WebAssembly is allowed for digests.
 */
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

/** Sets the security headers of every response. `connect` is another origin that the page may send requests to. */
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

/** Serves the files of the build folder, and no others. */
export const pageFiles: MiddlewareHandler = (context) => pageFile(context, new URL(context.req.url).pathname)

/** Responds with one file of the build folder, by the path of a URL. */
export async function pageFile(context: Context, pathname: string): Promise<Response> {
  const requested = decoded(pathname)
  if (requested === undefined) return context.text('The path is not valid.', 400)
  // The path starts with a slash, so '..' cannot leave the folder.
  const path = normalize(requested.endsWith('/') ? `${requested}index.html` : requested)
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
