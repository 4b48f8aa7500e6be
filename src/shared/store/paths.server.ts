import { homedir } from 'node:os'
import { posix, win32 } from 'node:path'
import { isMusterError, MusterError } from '../core/errors.ts'
import { openStore, type StoreOptions } from './level.server.ts'
import type { Store } from './port.ts'

type Environment = Readonly<Record<string, string | undefined>>

/** Peers of one user that may run at once without `--data`. */
export const DEFAULT_PEER_SLOTS = 16

/**
 * Where a node of this user keeps its data when nothing is said: `bootstrap`, or `peer-<slot>`, in the platform's
 * folder for such things. That is `$XDG_DATA_HOME/muster` or `~/.local/share/muster`,
 * `~/Library/Application Support/muster` on macOS, and `%LOCALAPPDATA%\muster` on Windows.
 */
export function defaultDataFolder(
  role: 'bootstrap' | 'peer',
  slot: number,
  env: Environment = process.env,
  platform: NodeJS.Platform = process.platform
): string {
  const name = role === 'bootstrap' ? 'bootstrap' : `peer-${slot}`
  if (platform === 'win32') {
    const local = env.LOCALAPPDATA || win32.join(env.USERPROFILE || homedir(), 'AppData', 'Local')
    return win32.join(local, 'muster', name)
  }
  const home = env.HOME || homedir()
  if (platform === 'darwin') return posix.join(home, 'Library', 'Application Support', 'muster', name)
  const xdg = env.XDG_DATA_HOME ?? ''
  // The specification tells to ignore a relative path there.
  return posix.join(posix.isAbsolute(xdg) ? xdg : posix.join(home, '.local', 'share'), 'muster', name)
}

/**
 * Opens the first free of the user's peer folders, `peer-1` to `peer-16`: peers started in several terminals all get
 * one, and the same terminals in the same order get the same identities again.
 * @throws MusterError as `openStore`; `data-locked` when all are in use.
 */
export async function openDefaultPeerStore(
  options: { env?: Environment; platform?: NodeJS.Platform } & StoreOptions = {}
): Promise<Store & { readonly path: string }> {
  const { env = process.env, platform = process.platform, ...storeOptions } = options
  for (let slot = 1; slot <= DEFAULT_PEER_SLOTS; slot++) {
    try {
      return await openStore(defaultDataFolder('peer', slot, env, platform), storeOptions)
    } catch (thrown) {
      if (!isMusterError(thrown, 'data-locked')) throw thrown
    }
  }
  const last = defaultDataFolder('peer', DEFAULT_PEER_SLOTS, env, platform)
  throw new MusterError(
    'data-locked',
    `all ${DEFAULT_PEER_SLOTS} default data folders, up to ${last}, are in use: name another one with --data`
  )
}
