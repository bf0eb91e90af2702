import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import org.apache.flink.metrics.Counter;
import org.apache.flink.metrics.Metric;
import org.apache.flink.metrics.MetricConfig;
import org.apache.flink.metrics.MetricGroup;
import org.apache.flink.metrics.reporter.MetricReporter;

/** Flink's own counters of what its sources and its sink have read, of this process. */
public class Counters implements MetricReporter {
  private static final List<Counter> SOURCES = new CopyOnWriteArrayList<>();
  private static final List<Counter> SINKS = new CopyOnWriteArrayList<>();

  static long records() {
    return SOURCES.stream().mapToLong(Counter::getCount).sum();
  }

  static long rows() {
    return SINKS.stream().mapToLong(Counter::getCount).sum();
  }

  @Override
  public void open(MetricConfig config) {}

  @Override
  public void close() {}

  @Override
  public void notifyOfAddedMetric(Metric metric, String name, MetricGroup group) {
    String operator = group.getAllVariables().get("<operator_name>");
    if (operator == null || !name.equals("numRecordsIn") || !(metric instanceof Counter)) {
      return;
    }
    if (operator.startsWith("Source: ")) {
      SOURCES.add((Counter) metric);
    } else if (operator.startsWith("answers[")) {
      SINKS.add((Counter) metric);
    }
  }

  @Override
  public void notifyOfRemovedMetric(Metric metric, String name, MetricGroup group) {}
}
