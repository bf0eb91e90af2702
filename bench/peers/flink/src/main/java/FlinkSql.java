import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.table.api.bridge.java.StreamTableEnvironment;
import org.apache.flink.types.Row;
import org.apache.flink.types.RowKind;
import org.apache.flink.util.CloseableIterator;

/**
 * Runs the statements of a file, parted by semicolons, in a Flink of this process. The last one is
 * an INSERT over a bounded read. Arguments: FILE PARALLELISM [rows].
 *
 * <p>Flink has its quickest settings here: state on the heap, no checkpoints, objects reused.
 * Mini-batches and split distinct aggregates were tried and cost it more CPU time than they saved.
 *
 * <p>Prints as `name value` lines: `seconds` the INSERT took, planning and the start of its job
 * included; `start_seconds` of them until the first record was read; `cpu_seconds` of the process
 * in that time; `start_cpu_seconds` of them until the first record; `records` read by the sources;
 * `rows` that reached the sink, corrections included.
 *
 * <p>With `rows` the SELECT of the INSERT is collected instead, corrections are applied, and `rows`
 * is the size of the result.
 */
public class FlinkSql {
  private static final com.sun.management.OperatingSystemMXBean SYSTEM =
      (com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();

  public static void main(String[] args) throws Exception {
    int parallelism = Integer.parseInt(args[1]);
    Configuration configuration = new Configuration();
    configuration.setString("taskmanager.memory.managed.size", "512mb");
    configuration.setString("taskmanager.numberOfTaskSlots", String.valueOf(parallelism));
    configuration.setString(
        "metrics.reporter.counters.factory.class", CountersFactory.class.getName());
    StreamExecutionEnvironment environment =
        StreamExecutionEnvironment.getExecutionEnvironment(configuration);
    environment.setParallelism(parallelism);
    environment.getConfig().enableObjectReuse();
    StreamTableEnvironment tables = StreamTableEnvironment.create(environment);
    String[] statements = Files.readString(Path.of(args[0])).strip().split(";\\s*");
    for (int i = 0; i + 1 < statements.length; i++) {
      tables.executeSql(statements[i]);
    }
    String insert = statements[statements.length - 1];
    if (args.length > 2) {
      countRows(tables, insert);
    } else {
      time(tables, insert);
    }
    System.exit(0);
  }

  private static void time(StreamTableEnvironment tables, String insert) throws Exception {
    long begin = System.nanoTime();
    long cpuBegin = SYSTEM.getProcessCpuTime();
    long[] first = {0, 0};
    Thread watcher = new Thread(() -> awaitFirst(first));
    watcher.setDaemon(true);
    watcher.start();
    tables.executeSql(insert).await();
    long end = System.nanoTime();
    long cpuEnd = SYSTEM.getProcessCpuTime();
    watcher.interrupt();
    watcher.join();
    print("seconds", end - begin);
    print("start_seconds", first[0] - begin);
    print("cpu_seconds", cpuEnd - cpuBegin);
    print("start_cpu_seconds", first[1] - cpuBegin);
    System.out.println("records " + Counters.records());
    System.out.println("rows " + Counters.rows());
  }

  /** Times of the first record: monotonic and of the process. */
  private static void awaitFirst(long[] first) {
    try {
      while (Counters.records() == 0) {
        Thread.sleep(2);
      }
    } catch (InterruptedException e) {
      // The job is over: nothing was read, or within the last two milliseconds.
    }
    first[0] = System.nanoTime();
    first[1] = SYSTEM.getProcessCpuTime();
  }

  private static void countRows(StreamTableEnvironment tables, String insert) throws Exception {
    String select = insert.substring(insert.indexOf("SELECT"));
    Map<String, Integer> rows = new HashMap<>();
    try (CloseableIterator<Row> results = tables.executeSql(select).collect()) {
      while (results.hasNext()) {
        Row row = results.next();
        boolean added = row.getKind() == RowKind.INSERT || row.getKind() == RowKind.UPDATE_AFTER;
        row.setKind(RowKind.INSERT);
        rows.merge(row.toString(), added ? 1 : -1, (a, b) -> a + b == 0 ? null : a + b);
      }
    }
    System.out.println("rows " + rows.values().stream().mapToInt(n -> n).sum());
  }

  private static void print(String name, long nanoseconds) {
    System.out.printf(java.util.Locale.ROOT, "%s %.3f%n", name, nanoseconds / 1e9);
  }
}
