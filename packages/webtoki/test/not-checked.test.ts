import { notChecked as ofDocuments } from '@webtoki/documents'
import { notChecked as ofLogin } from '@webtoki/login/server'
import { notChecked as ofTrust } from '@webtoki/trust'
import { expect, it } from 'vitest'

it('`notChecked` of a login verifier and of documents is one symbol', () => {
  expect(typeof ofLogin).toBe('symbol')
  expect([ofLogin, ofDocuments]).toEqual([ofTrust, ofTrust])
})
