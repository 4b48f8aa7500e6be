import { isPrivate } from '@libp2p/utils'
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr'

/**
 * The kind of network a node lives in, as one word.
 * `private`: LAN, loopback, containers; every address counts. `public`: the internet; private addresses of strangers
 * are neither believed nor dialled.
 */
export type Preset = 'private' | 'public'

export const PRESETS: readonly Preset[] = ['private', 'public']

/** True when an address that a stranger named may be dialled. Names are refused: only configured addresses may use DNS. */
export function mayDial(preset: Preset, address: Multiaddr): boolean {
  const components = address.getComponents()
  const [host] = components
  if (host === undefined || components.some(component => !DIALLED_PARTS.has(component.name))) return false
  if (host.name !== 'ip4' && host.name !== 'ip6') return false
  const value = host.value ?? ''
  if (value === '0.0.0.0' || value === '::' || value === '255.255.255.255' || isMulticast(value)) return false
  return preset === 'private' || !isPrivate(address)
}

const DIALLED_PARTS = new Set(['ip4', 'ip6', 'ip6zone', 'tcp', 'p2p'])

/** True when an address may be told to others. */
export function mayAnnounce(preset: Preset, address: Multiaddr): boolean {
  return preset === 'private' || !isPrivate(address)
}

/** The addresses of `texts` that are well-formed and may be dialled; the rest is dropped. */
export function dialable(preset: Preset, texts: readonly string[]): string[] {
  return texts.filter(text => {
    try {
      return mayDial(preset, multiaddr(text))
    } catch {
      return false // not an address at all: a stranger's mistake or lie
    }
  })
}

function isMulticast(host: string): boolean {
  if (host.includes(':')) return /^ff/i.test(host)
  const first = Number(host.split('.')[0])
  return first >= 224 && first < 240
}
