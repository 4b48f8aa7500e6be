import { promisify } from 'node:util'
import {
  brotliCompress,
  brotliCompressSync,
  brotliDecompress,
  brotliDecompressSync,
  constants,
  deflate,
  deflateSync,
  inflate,
  inflateSync
} from 'node:zlib'
import { ENCODING } from '../../shared/wire/message.ts'
import type { Compression } from './pack.ts'

/** Brotli's default, 11, takes a second for a megabyte; 4 is about as fast as deflate and denser. */
const BROTLI = { params: { [constants.BROTLI_PARAM_QUALITY]: 4 } }

const [compressBrotli, decompressBrotli] = [promisify(brotliCompress), promisify(brotliDecompress)]
const [compressDeflate, decompressDeflate] = [promisify(deflate), promisify(inflate)]

/**
 * Node's zlib. Nothing over `maxBytes` is ever produced; what is longer throws.
 */
export const nodeCompression: Compression = {
  encodings: ENCODING.deflate + ENCODING.brotli,
  compressSync: (encoding, bytes) =>
    encoding === ENCODING.brotli ? brotliCompressSync(bytes, BROTLI) : deflateSync(bytes),
  compress: (encoding, bytes) =>
    encoding === ENCODING.brotli ? compressBrotli(bytes, BROTLI) : compressDeflate(bytes),
  decompressSync: (encoding, bytes, maxBytes) =>
    encoding === ENCODING.brotli
      ? brotliDecompressSync(bytes, { maxOutputLength: maxBytes })
      : inflateSync(bytes, { maxOutputLength: maxBytes }),
  decompress: (encoding, bytes, maxBytes) =>
    encoding === ENCODING.brotli
      ? decompressBrotli(bytes, { maxOutputLength: maxBytes })
      : decompressDeflate(bytes, { maxOutputLength: maxBytes })
}
