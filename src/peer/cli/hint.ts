import { parseAddress, shortAddress } from '../../shared/core/address.ts'

/** Where a peer looks for a bootstrap when nothing is said. */
const DEFAULT_BOOTSTRAP = '127.0.0.1:8468'

/** How peers reach a bootstrap with these addresses, as lines for people: from the same machine and from others. */
export function joinHints(addresses: readonly string[]): string[] {
  const places = addresses.map(address => shortAddress(parseAddress(address).address))
  const local = places.find(isLoopback)
  const remote = places.find(place => !isLoopback(place))
  return [
    ...(local === undefined ? [] : [`Peers on this machine join with:  ${command(local)}`]),
    ...(remote === undefined ? [] : [`Peers elsewhere join with:        ${command(remote)}`])
  ]
}

function command(place: string): string {
  return place === DEFAULT_BOOTSTRAP ? 'npm run peer' : `npm run peer -- --bootstrap ${place}`
}

function isLoopback(place: string): boolean {
  return /^(127\.|\[::1\]|localhost:)/.test(place)
}
