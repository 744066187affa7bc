/** Builds files with many signers. */
import { signDetached } from '@webtoki/documents'
import { type Issued, issue, softwareSigner } from '../../trust/test/pki.ts'
import { closeSignedData, openSignedData } from './resign.ts'

/** A file with `signers` signatures and `certificates` certificates, one of which is that of the issuing CA. */
export async function fileOf(
  signers: number,
  certificates: number,
  document: Uint8Array,
): Promise<{ readonly file: Uint8Array; readonly root: Issued; readonly people: readonly Issued[] }> {
  const root = await issue({ name: 'Root', isCa: true })
  const ca = await issue({ name: 'Issuing CA', issuer: root, isCa: true })
  const people: Issued[] = []
  while (people.length < certificates - 1)
    people.push(await issue({ name: `Person ${people.length}`, issuer: ca }))
  const first = openSignedData(await signDetached(signerOf(people, 0), document))
  for (let index = 1; index < signers; index++) {
    const next = openSignedData(await signDetached(signerOf(people, index), document))
    first.signerInfos.push(...next.signerInfos)
  }
  first.certificates = [ca, ...people].map(({ certificate }) => certificate)
  return { file: closeSignedData(first), root, people }
}

function signerOf(people: readonly Issued[], index: number): ReturnType<typeof softwareSigner> {
  const person = people[index % people.length]
  if (person === undefined) throw new Error('At least one person has to sign.')
  return softwareSigner(person, 'ES256')
}
