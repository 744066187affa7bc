import { defineConfig } from 'vite'
import { VitePWA } from 'vite-plugin-pwa'

// From source, like the tests: what the page shows is what the tree says.
const conditions = ['webtoki-source', 'module', 'browser', 'import', 'default']

/** The service worker is a build of its own; scripts/demo.mjs puts its notices behind those of the page. */
const workerNotices = 'third-party-worker.txt'

export default defineConfig({
  root: import.meta.dirname,
  resolve: { conditions },
  build: {
    outDir: 'dist/page',
    emptyOutDir: true,
    target: 'es2023',
    // Its inline script would break the strict CSP; every browser with WebUSB preloads modules by itself.
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    // Terms of what is in the page, for those who receive it; the page links to it.
    license: { fileName: 'third-party.txt' },
  },
  worker: { format: 'es' },
  plugins: [
    VitePWA({
      strategies: 'injectManifest',
      srcDir: 'service-worker',
      filename: 'sw.ts',
      // public/manifest.webmanifest is the manifest; src/offline.ts registers, by a script address that its policy trusts.
      manifest: false,
      injectRegister: false,
      integration: {
        configureCustomSWViteBuild: (options) => {
          options.logLevel = 'warn'
          options.build = { ...options.build, license: { fileName: workerNotices } }
        },
      },
      injectManifest: {
        // One classic script with Workbox in it: nothing to import from a worker.
        rollupFormat: 'iife',
        globPatterns: ['**/*.{html,js,css,svg,png,webmanifest}'],
      },
    }),
  ],
})
