// `node e2e/icons.mjs`: draws the icons of the installed demo from demo/public/icon.svg.
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { chromium } from 'playwright-core'

const file = (name) => fileURLToPath(new URL(`../demo/public/${name}`, import.meta.url))
const svg = readFileSync(file('icon.svg'), 'utf8')

/** A maskable icon may be cut to a circle of 80 % of its width, so its drawing is smaller and its background fills the square. */
const icons = [
  { name: 'icon-192.png', size: 192, background: 'transparent', scale: 1 },
  { name: 'icon-512.png', size: 512, background: 'transparent', scale: 1 },
  { name: 'icon-maskable-512.png', size: 512, background: '#0b57d0', scale: 0.9 },
]

const browser = await chromium.launch({
  executablePath: '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking'],
})
try {
  for (const { name, size, background, scale } of icons) {
    const page = await browser.newPage({ viewport: { width: size, height: size } })
    await page.setContent(
      `<body style="margin:0;display:grid;place-items:center;block-size:100vh;background:${background}">
        <div style="inline-size:${scale * 100}%;line-height:0">${svg}</div>`,
    )
    await page.screenshot({ path: file(name), omitBackground: true })
    await page.close()
  }
} finally {
  await browser.close()
}
