#!/usr/bin/env node
// Starts `webtoki`. Not a build product, because the package manager links the command at installation, before the build.
import { main } from '../dist/webtoki.js'

process.exitCode = await main(process.argv.slice(2))
