/** Runs the whole driver in a dedicated worker. The page sends only a nonce and a PIN. */
import { Webtoki } from 'webtoki'

const scope = globalThis as unknown as {
  onmessage: ((event: MessageEvent<{ nonce: string; pin: string }>) => void) | null
  postMessage(reply: { token: string } | { error: string }): void
}

async function login(nonce: string, pin: string): Promise<string> {
  const webtoki = new Webtoki({ pin: async () => ({ pin: new TextEncoder().encode(pin) }) })
  try {
    return await webtoki.login(nonce)
  } finally {
    await webtoki.close()
  }
}

scope.onmessage = ({ data: { nonce, pin } }) => {
  login(nonce, pin).then(
    (token) => scope.postMessage({ token }),
    (error: unknown) => scope.postMessage({ error: String(error) }),
  )
}
