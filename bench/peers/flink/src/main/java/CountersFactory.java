import java.util.Properties;
import org.apache.flink.metrics.reporter.MetricReporterFactory;

/** How Flink finds Counters (named in META-INF/services). */
public class CountersFactory implements MetricReporterFactory {
  @Override
  public Counters createMetricReporter(Properties properties) {
    return new Counters();
  }
}
