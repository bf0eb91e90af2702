import org.apache.flink.table.annotation.DataTypeHint;
import org.apache.flink.table.annotation.FunctionHint;
import org.apache.flink.table.functions.AggregateFunction;

/**
 * The 99th percentile within 0.8 %, by counts of logarithmic buckets: Flink SQL has none. The
 * counts are one Java object, so that Flink neither copies nor converts them for each record.
 */
@FunctionHint(
    accumulator =
        @DataTypeHint(value = "RAW", bridgedTo = Percentile99.Buckets.class),
    output = @DataTypeHint("DOUBLE"))
public class Percentile99 extends AggregateFunction<Double, Percentile99.Buckets> {
  private static final double LOG_STEP = Math.log(1.016);
  private static final double SMALLEST = 1e-3;

  /** How many values lie in bucket k: (SMALLEST * 1.016^(k - 1), SMALLEST * 1.016^k]. */
  public static class Buckets {
    public int[] counts = new int[2048];
    public long total = 0;
  }

  @Override
  public Buckets createAccumulator() {
    return new Buckets();
  }

  public void accumulate(Buckets buckets, Double value) {
    if (value == null) {
      return;
    }
    int at = (int) Math.ceil(Math.log(value / SMALLEST) / LOG_STEP);
    buckets.counts[Math.max(0, Math.min(at, buckets.counts.length - 1))]++;
    buckets.total++;
  }

  public void merge(Buckets into, Iterable<Buckets> others) {
    for (Buckets other : others) {
      for (int i = 0; i < into.counts.length; i++) {
        into.counts[i] += other.counts[i];
      }
      into.total += other.total;
    }
  }

  @Override
  public Double getValue(Buckets buckets) {
    long left = (long) Math.ceil(0.99 * buckets.total);
    for (int i = 0; i < buckets.counts.length; i++) {
      left -= buckets.counts[i];
      if (left <= 0 && buckets.total > 0) {
        return SMALLEST * Math.exp((i - 0.5) * LOG_STEP);
      }
    }
    return null;
  }
}
