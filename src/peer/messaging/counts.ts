import type { Metrics } from '../../shared/status/metrics.ts'
import type { MessagingMetrics } from './messaging.ts'

/** Messaging's reports as the declared metrics. */
export function messageCounts(metrics: Metrics): MessagingMetrics {
  return {
    onSent(outcome, rttMs) {
      const label =
        outcome === 'receipt'
          ? 'delivered'
          : outcome === 'timed-out'
            ? 'timed_out'
            : outcome === 'refused'
              ? 'refused'
              : 'failed'
      metrics.increment('muster_messages_total', { direction: 'out', outcome: label })
      if (rttMs !== undefined) metrics.observe('muster_message_rtt_seconds', rttMs / 1000)
    },
    onReceived(outcome) {
      metrics.increment('muster_messages_total', {
        direction: 'in',
        outcome: outcome === 'taken' ? 'delivered' : 'refused'
      })
    }
  }
}
