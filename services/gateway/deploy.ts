/** Uploaded zip -> image -> store. Both objects are there before any record names them. */
import { PlatformError } from '../contracts/errors.ts'
import type { RuntimeName } from '../contracts/function.ts'
import type { GatewayDeps } from './deps.ts'
import type { Code } from './function-record.ts'
import { sha256 } from './routes/read-body.ts'

export interface Upload {
  readonly zip: Buffer
  readonly runtime: RuntimeName
  readonly handler: string
  /** Everything is checked and nothing stored. */
  readonly dryRun: boolean
}

/** @throws PlatformError CODE_TOO_LARGE, INVALID_ARCHIVE, INVALID_REQUEST, STORAGE_FULL */
export const takeCode = async (
  { images, code, config }: Pick<GatewayDeps, 'images' | 'code' | 'config'>,
  { zip, runtime, handler, dryRun }: Upload,
): Promise<Code> => {
  const { zipBytes } = config.limits
  if (zip.length > zipBytes)
    throw new PlatformError('CODE_TOO_LARGE', `Zipped size must be smaller than ${zipBytes} bytes`, {
      limit: 'limits.zipBytes',
      bytes: zipBytes,
    })
  const codeSha256 = await sha256(zip, 'base64')
  const zipDigest = Buffer.from(codeSha256, 'base64').toString('hex')
  return images.build(zip, runtime, handler, async (image) => {
    if (!dryRun) {
      await code.putImage(image.digest, image.file)
      await code.putZip(zipDigest, zip)
    }
    return { codeSha256, codeSize: zip.length, zipDigest, imageDigest: image.digest }
  })
}
