import { defineConfig } from 'vite'
import { VitePWA } from 'vite-plugin-pwa'

// From source, like the tests: what the page shows is what the tree says.
const conditions = ['webtoki-source', 'module', 'browser', 'import', 'default']

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
