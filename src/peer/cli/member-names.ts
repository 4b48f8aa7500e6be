import { MusterError } from '../../shared/core/errors.ts'
import type { Member } from '../api.ts'
import { SHORT_ID_LENGTH, shortId } from './shown.ts'

/**
 * The one member a text means: a nick, a peer id, or any unambiguous beginning or end of either.
 * A nick never hides a peer id: when the text fits the id of one member and the nick of another, both count, so that
 * nobody can take the messages of somebody else by calling itself like the end of their id.
 * @throws MusterError `command-invalid` when nobody or several fit.
 */
export function findMember(members: readonly Member[], text: string): Member {
  const wanted = text.normalize('NFC').replace(/^[@…]|^\.\.\./u, '')
  const isIdOnly = /^(…|\.\.\.)/u.test(text)
  if (wanted === '') throw new MusterError('command-invalid', 'name a member by nick or peer id; /members lists them')
  const whole = members.find(member => member.peerId === wanted)
  if (whole !== undefined) return whole

  const ofId = members.filter(({ peerId }) => peerId.startsWith(wanted) || peerId.endsWith(wanted))
  const named = isIdOnly ? [] : members.filter(({ name }) => name?.normalize('NFC') === wanted)
  const looksLikeId = wanted.length >= SHORT_ID_LENGTH
  const exact = new Set(looksLikeId || named.length === 0 ? [...named, ...ofId] : named)
  if (exact.size === 0 && !isIdOnly) {
    const small = wanted.toLowerCase()
    for (const member of members) {
      const name = member.name?.normalize('NFC').toLowerCase()
      if (name?.startsWith(small) || name?.endsWith(small)) exact.add(member)
    }
  }
  const [only, ...others] = exact
  if (only === undefined) {
    throw new MusterError('command-invalid', `no member is called ${JSON.stringify(text)}; /members lists them`)
  }
  if (others.length > 0) {
    const ids = [...exact].slice(0, 5).map(member => shortId(member.peerId))
    const more = exact.size > 5 ? ', …' : ''
    throw new MusterError(
      'command-invalid',
      `${JSON.stringify(text)} fits ${exact.size} members (${ids.join(', ')}${more}); give more of the nick or the peer id`
    )
  }
  return only
}
