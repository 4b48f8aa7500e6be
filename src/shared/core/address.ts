import { multiaddr } from '@multiformats/multiaddr'
import { MusterError } from './errors.ts'

/** The text form of an Ed25519 public key as a peer id, base58btc: `12D3Koo…`. */
export type PeerId = string

/** A peer and where it may be reached. Addresses are multiaddrs without `/p2p/…`; they are rumours until dialled. */
export interface PeerAddress {
  readonly peerId: PeerId
  readonly addresses: readonly string[]
}

/** One place to dial; without a peer id whoever answers is accepted (see trust on first use). */
export interface DialAddress {
  /** A multiaddr without `/p2p/…`. */
  readonly address: string
  readonly peerId?: PeerId
}

/**
 * Reads a multiaddr, or `host:port` for short: `127.0.0.1:8468`, `[::1]:8468`, `example.org:8468`.
 * @throws MusterError `address-invalid`.
 */
export function parseAddress(text: string): DialAddress {
  const trimmed = text.trim()
  return trimmed.startsWith('/') ? parseMultiaddr(trimmed) : parseHostPort(trimmed)
}

/** The id of a Muster node, an Ed25519 key: the base58btc form of 38 bytes, of which the first six are always the same. */
export const ED25519_PEER_ID = /^12D3KooW[1-9A-HJ-NP-Za-km-z]{44}$/

/** An Ed25519, secp256k1 or RSA peer id in base58btc: the form all of them are printed in. */
const PEER_ID = /^(12D3KooW|16Uiu2HA|Qm)[1-9A-HJ-NP-Za-km-z]{36,50}$/

function parseMultiaddr(text: string): DialAddress {
  try {
    const components = multiaddr(text).getComponents()
    const peer = components.findLast(component => component.name === 'p2p')
    const address = text.replace(/\/p2p\/[^/]+\/?$/, '')
    if (peer !== undefined && !PEER_ID.test(peer.value ?? '')) throw new Error('no peer id')
    if (address === '' || !components.some(component => component.name === 'tcp')) throw new Error('no tcp port')
    return peer?.value === undefined ? { address } : { address, peerId: peer.value }
  } catch (cause) {
    throw new MusterError('address-invalid', `${JSON.stringify(text)} is not a multiaddr with a tcp port`, { cause })
  }
}

function parseHostPort(text: string): DialAddress {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:/\s[\]]+)):(\d{1,5})$/.exec(text)
  const port = Number(match?.[3])
  if (match === null || port > 65_535) {
    throw new MusterError(
      'address-invalid',
      `${JSON.stringify(text)} is neither host:port (127.0.0.1:8468) nor a multiaddr (/ip4/127.0.0.1/tcp/8468)`
    )
  }
  const [, v6, host = ''] = match
  if (v6 !== undefined) return parseMultiaddr(`/ip6/${v6}/tcp/${port}`)
  if (/^[\d.]+$/.test(host)) return parseMultiaddr(`/ip4/${host}/tcp/${port}`)
  return parseMultiaddr(`/dns/${host}/tcp/${port}`)
}

/** `host:port` where the multiaddr is that simple, else the multiaddr itself: for people. */
export function shortAddress(address: string): string {
  const match = /^\/(ip4|ip6|dns[46]?)\/([^/]+)\/tcp\/(\d+)$/.exec(address)
  if (match === null) return address
  return match[1] === 'ip6' ? `[${match[2]}]:${match[3]}` : `${match[2]}:${match[3]}`
}
