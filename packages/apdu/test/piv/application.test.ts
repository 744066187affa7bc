/** Detection of PIV, because some cards return 9000 to SELECT of any AID (OpenSC, pull request 2216 and issue 3108). */
import { encodeTlv, fromHex } from '@webtoki/apdu'
import { isPivApplication, PivApplet } from '@webtoki/apdu/piv'
import { describe, expect, it } from 'vitest'
import { answering, connectionOf, ScriptedChannel } from '../scripted-channel.ts'

const response = (sw: string, data = '') => ({ data: fromHex(data), sw: Number.parseInt(sw, 16) })
const guid = '0102030405060708090a0b0c0d0e0f10'
const chuid = `53143410${guid}3e00`
const discovery = '7e124f0ba0000003080000100001005f2f024000'

const templates = {
  'as in the standard': '61114f0600001000010079074f05a000000308',
  'with a label and an address':
    '61254f06000010000100500c504956206170706c657432305f5006687474703a2f79074f05a000000308',
  'with the whole AID in 4F': '610d4f0ba000000308000010000100',
  'with an outer length past the end': '61804f0600001000010079074f05a000000308',
  'with an outer length that is too short': '61024f0600001000010079074f05a000000308',
  'with an inner length past the end': '61114fff00001000010079074f05a000000308',
  'with only the rest of the AID': '61084f06000010000100',
  'inside file control information': '6f0d840ba000000308000010000100',
}
const others = {
  'no template': '',
  'an empty template': '6100',
  'the file control information of a card manager': '6f108408a000000151000000a5049f6501ff',
  'the template of OpenPGP': '6f128410d27600012401030400060000000100 00',
  'the AID of PIV at half a byte': '6f0b840a0a00000030800001000f',
}

describe('a card that responds to SELECT', () => {
  it.each(Object.entries(templates))('with a template %s has PIV, whatever follows', (_, template) => {
    expect(isPivApplication(fromHex(template))).toBe(true)
    expect(isPivApplication(fromHex(template), response('6d00'))).toBe(true)
  })

  describe.each(Object.entries(others))('with %s', (_, template) => {
    it.each([
      ['nothing else was read', undefined, undefined, undefined],
      ['it has a CHUID', response('9000', chuid), undefined, true],
      ['it has an empty CHUID', response('9000', '5300'), undefined, true],
      ['it does not support GET DATA', response('6d00'), undefined, false],
      ['it does not support the class of GET DATA', response('6e00'), undefined, false],
      ['the CHUID is 9000 without data', response('9000'), undefined, undefined],
      ['the CHUID and the discovery object are 9000 without data', response('9000'), response('9000'), false],
      ['it has no CHUID', response('6a82'), undefined, undefined],
      ['it has no CHUID, but a discovery object', response('6a82'), response('9000', discovery), true],
      [
        'it protects the CHUID, but has a discovery object',
        response('6982'),
        response('9000', discovery),
        true,
      ],
      ['its discovery object is wrapped in 53', response('6a82'), response('9000', `5314${discovery}`), true],
      ['it has neither object', response('6a82'), response('6a82'), false],
      ['it refuses both', response('6982'), response('6982'), false],
      ['the CHUID is malformed, but it has a discovery object', undefined, response('9000', discovery), true],
      ['the CHUID is malformed and it has no discovery object', undefined, response('6a82'), false],
    ])('is judged by isPivApplication if %s', (__, first, second, has) => {
      expect(isPivApplication(fromHex(template), first, second)).toBe(has)
    })
  })
})

describe('PivApplet.open', () => {
  const select = '00a4040009a0000003080000100000'
  const getChuid = '00cb3fff055c035fc10200'
  const getDiscovery = '00cb3fff035c017e00'
  const openWith = async (script: [string, string][]) => {
    const channel = new ScriptedChannel(script)
    const applet = await PivApplet.open(connectionOf(channel))
    expect(channel.left).toBe(0)
    return applet
  }

  it('sends SELECT, reads the CHUID and returns its GUID', async () => {
    const applet = await openWith([
      [select, `${templates['as in the standard']}9000`],
      [getChuid, `${chuid}9000`],
    ])
    expect(applet?.guid).toBe(guid)
  })

  it('sends no more to a card without a template', async () => {
    const applet = await openWith([
      [select, '9000'],
      [getChuid, `${chuid}9000`],
    ])
    expect(applet?.guid).toBe(guid)
  })

  it('reads the discovery object if the card has neither template nor CHUID', async () => {
    const script: [string, string][] = [
      [select, '9000'],
      [getChuid, '6a82'],
    ]
    expect((await openWith([...script, [getDiscovery, `${discovery}9000`]]))?.guid).toBeUndefined()
    expect(await openWith([...script, [getDiscovery, '6a82']])).toBeUndefined()
  })

  it.each(['6a82', '6d00', '6999'])(
    'resolves to undefined if the card refuses SELECT with %s',
    async (sw) => {
      expect(await openWith([[select, sw]])).toBeUndefined()
    },
  )

  it.each(['6d00', '6e00'])(
    'resolves to undefined if the card returns 9000 to SELECT and %s to GET DATA',
    async (sw) => {
      const muscle = (command: Uint8Array) => fromHex(command[1] === 0xa4 ? '9000' : sw)
      expect(await PivApplet.open(connectionOf(answering(muscle)))).toBeUndefined()
    },
  )

  it('resolves to undefined if the card returns 9000 to every command', async () => {
    expect(await PivApplet.open(connectionOf(answering(() => fromHex('9000'))))).toBeUndefined()
  })

  // ISO/IEC 7816-4 forbids SW1 60.
  const malformed = (template: string) =>
    answering((command) => fromHex(command[1] === 0xa4 ? `${template}9000` : '6000'))

  it('rejects with MalformedError if there is no template and the objects are malformed', async () => {
    await expect(PivApplet.open(connectionOf(malformed('')))).rejects.toMatchObject({
      code: 'wire/malformed',
    })
  })

  it('resolves to an applet if there is a template but the CHUID is malformed', async () => {
    const open = PivApplet.open(connectionOf(malformed(templates['as in the standard'])))
    expect(await open).toBeInstanceOf(PivApplet)
  })

  it('accepts a CHUID that is followed by other bytes', async () => {
    const object = encodeTlv(0x53, encodeTlv(0x34, fromHex(guid)))
    const applet = await openWith([
      [select, '9000'],
      [getChuid, `${Buffer.from(object).toString('hex')}00009000`],
    ])
    expect(applet?.guid).toBe(guid)
  })
})

describe('confirmCard of the PIV applet, at a reader that would not notice another card', () => {
  const select: [string, string] = ['00a4040009a0000003080000100000', '9000']
  const readChuid = (response: string): [string, string] => ['00cb3fff055c035fc10200', response]

  it.each([
    ['the same CHUID', `${chuid}9000`, `${chuid}9000`, 'accepted'],
    ['another CHUID', `${chuid}9000`, `${chuid.replace('01', '02')}9000`, 'refused'],
    ['no CHUID twice', '6a82', '6a88', 'accepted'],
    ['no CHUID after a CHUID', `${chuid}9000`, '6a82', 'refused'],
    ['a protected CHUID twice', '6982', '6982', 'accepted'],
    ['an unspecific error twice', '6f00', '6f00', 'refused'],
  ])('decides by %s', async (_, before, after, outcome) => {
    const discovered: [string, string][] =
      before.length > 4 ? [] : [['00cb3fff035c017e00', `${discovery}9000`]]
    const channel = new ScriptedChannel([select, readChuid(before), ...discovered, readChuid(after)])
    channel.vouchesForCard = false
    const applet = (await PivApplet.open(connectionOf(channel))) as PivApplet
    const confirmed = applet.confirmCard(channel).then(
      () => 'accepted',
      ({ code, why }: { code: string; why: string }) => `${code} ${why}`,
    )
    expect(await confirmed).toBe(outcome === 'accepted' ? 'accepted' : 'card/gone replaced')
    expect(channel.left).toBe(0)
  })
})
