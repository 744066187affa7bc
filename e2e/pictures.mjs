// `node e2e/pictures.mjs`: takes the README's screenshots of the built demo.
import { spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { chromium } from 'playwright-core'

const file = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url))
const server = spawn(process.execPath, [file('demo/dist/server/main.js')], {
  stdio: ['ignore', 'pipe', 'inherit'],
})
const url = await new Promise((resolve, reject) => {
  server.stdout.on('data', (chunk) => {
    const found = /^Webtoki demo: (\S+)$/m.exec(chunk.toString())?.[1]
    if (found !== undefined) resolve(found)
  })
  server.once('exit', (code) => reject(new Error(`The demo's server ended with ${code}.`)))
})
const browser = await chromium.launch({
  executablePath: '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking'],
})
try {
  const page = await browser.newPage({ viewport: { width: 1180, height: 720 }, colorScheme: 'light' })
  await page.goto(url)
  await page.getByRole('button', { name: 'Use the virtual reader' }).click()
  await page.getByText('PIN not verified').waitFor()
  const pin = page.getByRole('textbox', { name: 'PIN' })
  const enter = async () => {
    await pin.fill('123456')
    await page.getByRole('button', { name: 'Confirm' }).click()
  }
  await page.getByRole('button', { name: 'Log in with your card' }).click()
  await page.locator('#confirm:enabled').waitFor()
  await page.screenshot({ path: file('docs/login.png') })
  await enter()
  await page.getByText('You are logged in').waitFor()
  const contract = join(tmpdir(), 'contract.pdf')
  writeFileSync(contract, new Uint8Array(48_000))
  await page.locator('#file').setInputFiles(contract)
  await page.getByRole('button', { name: 'Sign', exact: true }).click()
  await pin.waitFor()
  await enter()
  await page.getByText('Download contract.pdf.p7s').waitFor()
  await page.screenshot({ path: file('docs/signing.png'), fullPage: true })
} finally {
  await browser.close()
  server.kill()
}
