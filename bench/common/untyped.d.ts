declare module 'hyperdht' {
  export interface KeyPair {
    readonly publicKey: Uint8Array
    readonly secretKey: Uint8Array
  }
  export interface Stored {
    readonly closestNodes: readonly object[]
  }
  export default class HyperDHT {
    static keyPair(): KeyPair
    constructor(options: object)
    readonly table: { readonly id: Uint8Array; readonly size: number }
    readonly stats: { readonly requests: { readonly total: number } }
    address(): { readonly host: string; readonly port: number }
    fullyBootstrapped(): Promise<void>
    findNode(id: Uint8Array): { finished(): Promise<void> }
    immutablePut(value: Uint8Array): Promise<Stored & { readonly hash: Uint8Array }>
    immutableGet(hash: Uint8Array): Promise<{ readonly value: Uint8Array } | null>
    mutablePut(keyPair: KeyPair, value: Uint8Array): Promise<Stored>
    mutableGet(publicKey: Uint8Array): Promise<{ readonly value: Uint8Array } | null>
  }
}

declare module 'hyperswarm' {
  export interface Socket {
    on(event: 'error', listener: (error: Error) => void): void
    on(event: 'data', listener: (data: Uint8Array) => void): void
    once(event: 'drain', listener: () => void): void
    write(data: Uint8Array): boolean
  }
  export default class Hyperswarm {
    constructor(options: object)
    on(event: 'connection', listener: (socket: Socket) => void): void
    listen(): Promise<void>
    join(topic: Uint8Array): { flushed(): Promise<boolean> }
    leave(topic: Uint8Array): Promise<void>
  }
}
