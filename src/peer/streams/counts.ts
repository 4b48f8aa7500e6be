import type { Metrics } from '../../shared/status/metrics.ts'
import type { StreamMetrics } from './streams.ts'

/** Reports of streams as the declared metrics. */
export function streamCounts(metrics: Metrics): StreamMetrics {
  return {
    onOver: (direction, outcome) => metrics.increment('muster_streams_total', { direction, outcome })
  }
}
