/** Parses report descriptors: top-level collections and the IDs of their reports (HID 1.11, 6.2.2). */

/** WebHID, HIDReportInfo, with the report ID only. */
export interface HidReport {
  /** 0 if reports are not numbered. */
  readonly reportId: number
}

/** WebHID, HIDCollectionInfo: a top-level collection. */
export interface HidCollection {
  readonly usagePage: number
  readonly usage: number
  readonly inputReports: readonly HidReport[]
  readonly outputReports: readonly HidReport[]
  readonly featureReports: readonly HidReport[]
}

/** Tag and type of a short item (6.2.2.4 to 6.2.2.8). */
const Item = {
  usagePage: 0x04,
  usage: 0x08,
  reportId: 0x84,
  input: 0x80,
  output: 0x90,
  feature: 0xb0,
  collection: 0xa0,
  endCollection: 0xc0,
} as const
const LONG_ITEM = 0xfe

/** Returns the top-level collections in order. Missing bytes of an incomplete last item count as 0. */
export function readCollections(descriptor: Uint8Array): readonly HidCollection[] {
  const found: HidCollection[] = []
  let usagePage = 0
  let usage = 0
  let reportId = 0
  let depth = 0
  const add = (reports: readonly HidReport[] | undefined): void => {
    if (reports?.some((each) => each.reportId === reportId) === false)
      (reports as HidReport[]).push({ reportId })
  }
  for (let at = 0; at < descriptor.length; ) {
    const head = descriptor[at] as number
    if (head === LONG_ITEM) {
      at += 3 + (descriptor[at + 1] ?? 0)
      continue
    }
    const bytes = [0, 1, 2, 4][head & 3] as number
    let value = 0
    for (let byte = bytes; byte > 0; byte--) value = value * 256 + (descriptor[at + byte] ?? 0)
    at += 1 + bytes
    const current = found.at(-1)
    switch (head & 0xfc) {
      case Item.usagePage:
        usagePage = value
        break
      case Item.usage:
        if (depth === 0) usage = value
        break
      case Item.reportId:
        reportId = value
        break
      case Item.collection:
        if (depth++ === 0)
          found.push({ usagePage, usage, inputReports: [], outputReports: [], featureReports: [] })
        break
      case Item.endCollection:
        depth--
        break
      case Item.input:
        add(current?.inputReports)
        break
      case Item.output:
        add(current?.outputReports)
        break
      case Item.feature:
        add(current?.featureReports)
        break
      default:
        break
    }
  }
  return found
}
