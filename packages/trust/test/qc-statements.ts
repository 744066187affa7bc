/** QcStatements for tests: ETSI EN 319 412-5, 4.2. */
import { ObjectIdentifier, Sequence } from 'asn1js'
import { Extension } from 'pkijs'

const oid = (value: string) => new ObjectIdentifier({ value })

export const qcTypes = { esign: 1, eseal: 2, web: 3, other: 4 } as const

/** Builds the extension with QcSSCD, and with QcCompliance and QcType if requested. */
export function qcStatements({
  compliance = false,
  types,
}: {
  readonly compliance?: boolean
  readonly types?: readonly (keyof typeof qcTypes)[]
}): Extension {
  const list = types?.map((type) => oid(`0.4.0.1862.1.6.${qcTypes[type]}`))
  const statements = [
    ...(compliance ? [new Sequence({ value: [oid('0.4.0.1862.1.1')] })] : []),
    // QcSSCD, which is independent of the type.
    new Sequence({ value: [oid('0.4.0.1862.1.4')] }),
    ...(list === undefined
      ? []
      : [new Sequence({ value: [oid('0.4.0.1862.1.6'), new Sequence({ value: list })] })]),
  ]
  return new Extension({
    extnID: '1.3.6.1.5.5.7.1.3',
    extnValue: new Sequence({ value: statements }).toBER(),
  })
}
