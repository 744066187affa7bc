/** Path in the app to bytes. */
export function filesOf(site: string): Map<string, Buffer>
/** Signs the files with an Ed25519 key in PEM, from which the app's origin follows. */
export function signBundle(
  files: Map<string, Buffer>,
  site: string,
  pem: string | Buffer,
): Promise<{ origin: string; bytes: Uint8Array }>
/** Reads a signed bundle anew; throws where anything is not as it should be. */
export function checkBundle(bytes: Uint8Array, files: Map<string, Buffer>): string
