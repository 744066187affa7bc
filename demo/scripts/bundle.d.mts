/** Returns the app's files: their paths, each with its content. `site` is the origin of the relying party. */
export function filesOf(site: string): Map<string, Buffer>
/** Bundles the files and signs the bundle with an Ed25519 key in PEM, which determines the app's origin. */
export function signBundle(
  files: Map<string, Buffer>,
  site: string,
  pem: string | Buffer,
): Promise<{ origin: string; bytes: Uint8Array }>
/** Checks that a signed bundle contains these files and that its signature is valid. Returns its origin; throws otherwise. */
export function checkBundle(bytes: Uint8Array, files: Map<string, Buffer>): string
