/** The work of a digest operation, in software (PKCS#11 v2.40, 5.10). */
import { StreamingDigest } from './digest.ts'
import { type HashName, hashes } from '@webtoki/crypto'
import type { OperationWork } from './engine.ts'
import type { OperationCall } from './operation-rules.ts'

const noBytes = new Uint8Array(0)

/** Computes the digest of the data of an operation. */
export class DigestWork implements OperationWork {
  readonly #name: HashName
  readonly #digest: StreamingDigest

  constructor(name: HashName) {
    this.#name = name
    this.#digest = new StreamingDigest(name)
  }

  async update(chunk: Uint8Array): Promise<Uint8Array> {
    await this.#digest.update(chunk)
    return noBytes
  }

  async final(): Promise<Uint8Array> {
    return this.#digest.digest()
  }

  outputBytes(call: OperationCall): number {
    return call === 'update' ? 0 : hashes[this.#name].bytes
  }

  end(): void {}
}
