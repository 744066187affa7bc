import { defineConfig } from 'vitest/config'

// Tests run from source: no build stands between a change and its test. The condition is one that only we know.
const conditions = ['webtoki-source']
const places = ['packages/*/test', 'demo/server/test', 'bench/test', 'scripts/test']

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    testTimeout: 20_000,
    // A hook may compile C first, on a fresh clone.
    hookTimeout: 60_000,
    projects: [
      {
        extends: true,
        test: {
          name: 'unit',
          include: places.map((place) => `${place}/**/*.test.{ts,tsx}`),
          exclude: ['**/node_modules/**', '**/*.judge.test.ts'],
        },
      },
      {
        // Programs that are not ours give the verdict: OpenSSL and its like. They are installed by `npm run setup`.
        extends: true,
        test: {
          name: 'judges',
          include: places.map((place) => `${place}/**/*.judge.test.ts`),
          testTimeout: 60_000,
        },
      },
      {
        // A person's stories in Debian's Chromium, over the built demo.
        extends: true,
        test: {
          name: 'browser',
          include: ['e2e/test/**/*.test.ts'],
          testTimeout: 60_000,
          // A browser on a busy machine takes its time.
          expect: { poll: { timeout: 15_000 } },
        },
      },
    ],
  },
})
