import { defineConfig } from 'vite'

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
})
