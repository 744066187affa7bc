import { Webtoki } from 'webtoki'
const webtoki = new Webtoki({ pin: async () => undefined })
await webtoki.requestReader()
const { nonce } = await (await fetch('/nonce')).json()
await fetch('/login', { method: 'POST', body: await webtoki.login(nonce) })
