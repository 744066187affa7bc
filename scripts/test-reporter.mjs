// A vitest reporter that writes the results of a run to the file TEST_REPORT. Unlike vitest's JSON reporter it includes failed
// hooks and errors outside every test.
import { writeFileSync } from 'node:fs'
import { relative } from 'node:path'
import { root } from './command.mjs'

const firstLine = (error) => String(error?.message ?? error).split('\n', 1)[0]

/** @implements {import('vitest/node').Reporter} */
export default class TestReporter {
  onTestRunEnd(modules, unhandled) {
    const report = { passed: 0, failed: [], skipped: [] }
    const fail = (name, errors) => report.failed.push(...errors.map((each) => `${name}: ${firstLine(each)}`))
    for (const module of modules) {
      const file = relative(root, module.moduleId)
      fail(`${file} (the file or its hooks)`, module.errors())
      for (const suite of module.children.allSuites())
        fail(`${file}: ${suite.fullName} (its hooks)`, suite.errors())
      for (const test of module.children.allTests()) {
        const { state, errors, note } = test.result()
        const name = `${file}: ${test.fullName}`
        if (state === 'passed') report.passed += 1
        // A test counts as one failure, even if several of its expectations failed.
        else if (state === 'failed') fail(name, errors?.slice(0, 1) ?? ['no error was reported'])
        else report.skipped.push(note === undefined ? name : `${name} (${note})`)
      }
    }
    fail('outside every test', unhandled)
    writeFileSync(process.env.TEST_REPORT, JSON.stringify(report))
  }
}
