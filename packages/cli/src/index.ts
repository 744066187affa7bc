/** Exports the command line as a function for programs that embed it. */
export type { Command } from './webtoki.ts'
export { help, main } from './webtoki.ts'
