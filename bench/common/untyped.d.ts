declare module 'hyperdht' {
  export default class HyperDHT {
    constructor(options: object)
    readonly table: { readonly id: Uint8Array }
    address(): { readonly host: string; readonly port: number }
    fullyBootstrapped(): Promise<void>
    findNode(id: Uint8Array): { finished(): Promise<void> }
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
