import { multiaddr } from '@multiformats/multiaddr'
import { asError, MusterError } from '../core/errors.ts'

/** Why a node cannot listen, by code: libp2p says it in the text of one error alone. */
export function listenError(thrown: unknown, listen: readonly string[]): MusterError {
  const { message } = asError(thrown)
  const where = listen.map(text => multiaddr(text).toString()).join(', ')
  if (message.includes('EADDRINUSE')) {
    return new MusterError('port-in-use', `${where} is in use by another process; stop it or choose another --listen`, {
      cause: thrown
    })
  }
  if (/EADDRNOTAVAIL|EACCES|ENOTFOUND|EINVAL/.test(message)) {
    return new MusterError(
      'address-unavailable',
      `cannot listen on ${where}: not an address of this machine, or not permitted`,
      {
        cause: thrown
      }
    )
  }
  return new MusterError('address-unavailable', `cannot listen on ${where}`, { cause: thrown })
}
