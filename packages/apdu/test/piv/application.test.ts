/** Which cards have PIV: some answer 9000 to SELECT of any AID (OpenSC, pull request 2216 and issue 3108). */
import { encodeTlv, fromHex } from '@webtoki/apdu'
import { isPivApplication, PivApplet } from '@webtoki/apdu/piv'
import { describe, expect, it } from 'vitest'
import { answering, connectionOf, ScriptedChannel } from '../scripted-channel.ts'

const response = (sw: string, data = '') => ({ data: fromHex(data), sw: Number.parseInt(sw, 16) })
const guid = '0102030405060708090a0b0c0d0e0f10'
const chuid = `53143410${guid}3e00`
const discovery = '7e124f0ba0000003080000100001005f2f024000'

const templates = {
  'as the standard has it': '61114f0600001000010079074f05a000000308',
  'with a label and an address':
    '61254f06000010000100500c504956206170706c657432305f5006687474703a2f79074f05a000000308',
  'with the whole AID in 4F': '610d4f0ba000000308000010000100',
  'with an outer length past the end': '61804f0600001000010079074f05a000000308',
  'with an outer length that is too short': '61024f0600001000010079074f05a000000308',
  'with an inner length past the end': '61114fff00001000010079074f05a000000308',
  'with the rest of the AID alone': '61084f06000010000100',
  'in a file control information': '6f0d840ba000000308000010000100',
}
const others = {
  'no template': '',
  'an empty template': '6100',
  'the file control information of a card manager': '6f108408a000000151000000a5049f6501ff',
  'the template of OpenPGP': '6f128410d27600012401030400060000000100 00',
  'the AID of PIV at half a byte': '6f0b840a0a00000030800001000f',
}

describe('a card that answers SELECT', () => {
  it.each(Object.entries(templates))('by a template %s has PIV, whatever follows', (_, template) => {
    expect(isPivApplication(fromHex(template))).toBe(true)
    expect(isPivApplication(fromHex(template), response('6d00'))).toBe(true)
  })

  describe.each(Object.entries(others))('by %s', (_, template) => {
    it.each([
      ['nothing is known yet', undefined, undefined, undefined],
      ['a CHUID follows', response('9000', chuid), undefined, true],
      ['an empty CHUID follows', response('9000', '5300'), undefined, true],
      ['GET DATA is unknown', response('6d00'), undefined, false],
      ['the class of GET DATA is unknown', response('6e00'), undefined, false],
      ['9000 follows, and nothing else', response('9000'), undefined, undefined],
      ['9000 follows, and again', response('9000'), response('9000'), false],
      ['there is no CHUID', response('6a82'), undefined, undefined],
      ['there is no CHUID, but a discovery object', response('6a82'), response('9000', discovery), true],
      [
        'the CHUID is kept, but there is a discovery object',
        response('6982'),
        response('9000', discovery),
        true,
      ],
      ['its discovery object stands in 53', response('6a82'), response('9000', `5314${discovery}`), true],
      ['there is neither', response('6a82'), response('6a82'), false],
      ['everything is refused', response('6982'), response('6982'), false],
      [
        'the CHUID came damaged, and there is a discovery object',
        undefined,
        response('9000', discovery),
        true,
      ],
      ['the CHUID came damaged, and there is no discovery object', undefined, response('6a82'), false],
    ])('if %s', (__, first, second, has) => {
      expect(isPivApplication(fromHex(template), first, second)).toBe(has)
    })
  })
})

describe('PivApplet.open', () => {
  const select = '00a4040009a0000003080000100000'
  const getChuid = '00cb3fff055c035fc10200'
  const getDiscovery = '00cb3fff035c017e00'
  const opened = async (script: [string, string][]) => {
    const channel = new ScriptedChannel(script)
    const applet = await PivApplet.open(connectionOf(channel))
    expect(channel.left).toBe(0)
    return applet
  }

  it('costs SELECT and the CHUID, and tells the GUID', async () => {
    const applet = await opened([
      [select, `${templates['as the standard has it']}9000`],
      [getChuid, `${chuid}9000`],
    ])
    expect(applet?.guid).toBe(guid)
  })

  it('costs no more on a card without a template', async () => {
    const applet = await opened([
      [select, '9000'],
      [getChuid, `${chuid}9000`],
    ])
    expect(applet?.guid).toBe(guid)
  })

  it('asks for one object more if there is neither template nor CHUID', async () => {
    const script: [string, string][] = [
      [select, '9000'],
      [getChuid, '6a82'],
    ]
    expect((await opened([...script, [getDiscovery, `${discovery}9000`]]))?.guid).toBeUndefined()
    expect(await opened([...script, [getDiscovery, '6a82']])).toBeUndefined()
  })

  it.each(['6a82', '6d00', '6999'])('is undefined if SELECT is refused with %s', async (sw) => {
    expect(await opened([[select, sw]])).toBeUndefined()
  })

  it.each(['6d00', '6e00'])('is undefined if the card says 9000 to SELECT and %s to GET DATA', async (sw) => {
    const muscle = (command: Uint8Array) => fromHex(command[1] === 0xa4 ? '9000' : sw)
    expect(await PivApplet.open(connectionOf(answering(muscle)))).toBeUndefined()
  })

  it('is undefined if the card says 9000 to everything', async () => {
    expect(await PivApplet.open(connectionOf(answering(() => fromHex('9000'))))).toBeUndefined()
  })

  // 60 is a status that ISO/IEC 7816-4 forbids.
  const damaged = (template: string) =>
    answering((command) => fromHex(command[1] === 0xa4 ? `${template}9000` : '6000'))

  it('is an error, not undefined, if the card shows nothing and its objects come damaged', async () => {
    await expect(PivApplet.open(connectionOf(damaged('')))).rejects.toMatchObject({ code: 'wire/malformed' })
  })

  it('finds a card with a template though its CHUID comes damaged', async () => {
    const open = PivApplet.open(connectionOf(damaged(templates['as the standard has it'])))
    expect(await open).toBeInstanceOf(PivApplet)
  })

  it('finds PIV though bytes follow the CHUID, and its GUID', async () => {
    const object = encodeTlv(0x53, encodeTlv(0x34, fromHex(guid)))
    const applet = await opened([
      [select, '9000'],
      [getChuid, `${Buffer.from(object).toString('hex')}00009000`],
    ])
    expect(applet?.guid).toBe(guid)
  })
})

describe('another card in the place of the first', () => {
  const select: [string, string] = ['00a4040009a0000003080000100000', '9000']
  const answer = (object: string): [string, string] => ['00cb3fff055c035fc10200', object]

  it.each([
    ['the same CHUID', `${chuid}9000`, `${chuid}9000`, 'taken'],
    ['another CHUID', `${chuid}9000`, `${chuid.replace('01', '02')}9000`, 'refused'],
    ['no CHUID twice', '6a82', '6a88', 'taken'],
    ['no CHUID any more', `${chuid}9000`, '6a82', 'refused'],
    ['a CHUID that is kept, twice', '6982', '6982', 'taken'],
    ['an answer that tells nothing, twice', '6f00', '6f00', 'refused'],
  ])('is told by %s', async (_, before, after, outcome) => {
    const discovered: [string, string][] =
      before.length > 4 ? [] : [['00cb3fff035c017e00', `${discovery}9000`]]
    const channel = new ScriptedChannel([select, answer(before), ...discovered, answer(after)])
    channel.vouchesForCard = false
    const applet = (await PivApplet.open(connectionOf(channel))) as PivApplet
    const confirmed = applet.confirmCard(channel).then(
      () => 'taken',
      ({ code, why }: { code: string; why: string }) => `${code} ${why}`,
    )
    expect(await confirmed).toBe(outcome === 'taken' ? 'taken' : 'card/gone replaced')
    expect(channel.left).toBe(0)
  })
})
