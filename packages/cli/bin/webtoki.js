#!/usr/bin/env node
// A wrapper that is there before the build, so that the package manager can link it at install time.
import { main } from '../dist/webtoki.js'

process.exitCode = await main(process.argv.slice(2))
