import { defineConfig } from 'vite'
import { VitePWA } from 'vite-plugin-pwa'

// Builds from the packages' sources, like the tests.
const conditions = ['webtoki-source', 'module', 'browser', 'import', 'default']

/** The service worker is a separate build. scripts/demo.mjs appends its notices to those of the page. */
const workerNotices = 'third-party-worker.txt'

export default defineConfig({
  root: import.meta.dirname,
  resolve: { conditions },
  build: {
    outDir: 'dist/page',
    emptyOutDir: true,
    target: 'es2023',
    // The polyfill is an inline script, which the CSP forbids. Every browser with WebUSB supports modulepreload.
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    // The licences of the bundled packages, which the page links to.
    license: { fileName: 'third-party.txt' },
  },
  worker: { format: 'es' },
  plugins: [
    VitePWA({
      strategies: 'injectManifest',
      srcDir: 'service-worker',
      filename: 'sw.ts',
      // The manifest is public/manifest.webmanifest. src/offline.ts registers the worker with a trusted script URL.
      manifest: false,
      injectRegister: false,
      integration: {
        configureCustomSWViteBuild: (options) => {
          options.logLevel = 'warn'
          options.build = { ...options.build, license: { fileName: workerNotices } }
        },
      },
      injectManifest: {
        // One classic script that includes Workbox, so the worker has no imports.
        rollupFormat: 'iife',
        globPatterns: ['**/*.{html,js,css,svg,png,webmanifest}'],
      },
    }),
  ],
})
