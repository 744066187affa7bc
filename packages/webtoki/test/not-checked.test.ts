import { notChecked as ofDocuments } from '@webtoki/documents'
import { notChecked as ofLogin } from '@webtoki/login/server'
import { notChecked as ofTrust } from '@webtoki/trust'
import { expect, it } from 'vitest'

it('login and documents export the same symbol `notChecked`', () => {
  expect(typeof ofLogin).toBe('symbol')
  expect([ofLogin, ofDocuments]).toEqual([ofTrust, ofTrust])
})
