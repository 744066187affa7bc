// The form of a commit's subject. The hook that `npm run setup` installs runs this file; it warns and refuses nothing.
import { readFileSync } from 'node:fs'
import { argv } from 'node:process'
import { fileURLToPath } from 'node:url'

/** The longest subject of a commit, in characters. */
export const MAX_SUBJECT = 72

/** What is wrong with a commit's subject; undefined if it has the form `area: imperative` and fits. */
export function subjectFault(subject) {
  if (/^(?:Merge|Revert|fixup!|squash!) /.test(subject)) return undefined
  if (subject.length > MAX_SUBJECT) return `it has ${subject.length} characters; at most ${MAX_SUBJECT} fit`
  if (!/^[a-z0-9.-]+(?:, [a-z0-9.-]+)*: [^\s].*[^.\s]$/.test(subject))
    return 'its form is `area: imperative`, such as `ccid: retry open when a person asks`'
  return undefined
}

if (argv[1] === fileURLToPath(import.meta.url) && argv[2] !== undefined) {
  const [subject] = readFileSync(argv[2], 'utf8').split('\n', 1)
  const fault = subjectFault(subject)
  if (fault !== undefined) console.error(`commit subject: ${fault}. git commit --amend changes it.`)
}
