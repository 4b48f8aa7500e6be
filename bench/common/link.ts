import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

/** Where a process runs: the address its sockets bind to, and the words in front of the script's name that put it there. */
export interface Place {
  readonly host: string
  readonly command: readonly [string, ...string[]]
}

/** Places whose packets to one another take `rttMs` for a round trip. */
export interface Link extends AsyncDisposable {
  readonly places: readonly Place[]
}

/** Why there is no delay to be had here; its message is for people. */
export class LinkUnavailable extends Error {
  override readonly name = 'LinkUnavailable'
}

/** One namespace each, with a TUN interface, and a switch between them (`link.py`). Without a delay: plain loopback. */
export async function openLink(count: number, rttMs: number): Promise<Link> {
  if (rttMs === 0) {
    const place: Place = { host: '127.0.0.1', command: [process.execPath] }
    return { places: Array.from({ length: count }, () => place), async [Symbol.asyncDispose]() {} }
  }
  if (process.platform !== 'linux' || process.getuid?.() !== 0) {
    throw new LinkUnavailable('a delay needs Linux and root: it is made of network namespaces and TUN interfaces')
  }
  const prefix = `meet${process.pid}n`
  const script = fileURLToPath(new URL('./link.py', import.meta.url))
  const child = spawn('python3', [script, prefix, String(count), String(rttMs / 2)], {
    stdio: ['pipe', 'pipe', 'inherit']
  })
  const ended = once(child, 'exit').catch((error: Error) => [error.message])
  const ready = once(createInterface(child.stdout), 'line').then(() => true)
  if ((await Promise.race([ready, ended.then(() => false)])) !== true) {
    throw new LinkUnavailable('a delay needs python3, ip, nsenter and /dev/net/tun')
  }
  return {
    places: Array.from({ length: count }, (_, i) => ({
      host: `10.99.0.${i + 1}`,
      command: ['nsenter', `--net=/run/netns/${prefix}${i + 1}`, process.execPath] as const
    })),
    async [Symbol.asyncDispose]() {
      child.stdin.end()
      await ended
    }
  }
}
