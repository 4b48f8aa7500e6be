/** Which way of storing is used. Each stack knows some of them. */
export type Kind = 'open' | 'owned' | 'content' | 'plain' | 'immutable' | 'mutable'

export type StackName = 'kad-dht' | 'hyperdht' | 'muster'

/** One line of the result: a network, and how it stores. */
export interface Contestant {
  readonly name: string
  readonly network: StackName
  readonly kind: Kind
  readonly about: string
}

/** From what others offer to what Muster offers. */
export const CONTESTANTS: readonly Contestant[] = [
  { name: 'kad-dht', network: 'kad-dht', kind: 'plain', about: 'contentRouting.put and get; values are not signed' },
  {
    name: 'hyperdht-immutable',
    network: 'hyperdht',
    kind: 'immutable',
    about: 'immutablePut and immutableGet: the key is the hash'
  },
  {
    name: 'hyperdht-mutable',
    network: 'hyperdht',
    kind: 'mutable',
    about: 'mutablePut and mutableGet: the key is a public key, values are signed'
  },
  {
    name: 'muster',
    network: 'muster',
    kind: 'open',
    about: 'records.put and get: a name anybody may write, values are signed'
  },
  {
    name: 'muster-owned',
    network: 'muster',
    kind: 'owned',
    about: 'the same with { name }: only its owner writes'
  },
  {
    name: 'muster-content',
    network: 'muster',
    kind: 'content',
    about: 'the same with null and { content }: the key is the hash, values are signed all the same'
  }
]
