using System;
using Text = System.Text;

namespace Demo.Shapes
{
    /// <summary>
    /// A circle with a radius.
    /// </summary>
    public class Circle<TUnit> : Shape, IDisposable
    {
        private readonly double radius;
        public double Area { get; set; }
        public const int Corners = 0;

        public Circle(double radius) { this.radius = radius; }

        /// <summary>Scales the circle.</summary>
        [Obsolete]
        public double Scale(double factor, params string[] labels)
        {
            var size = factor * radius;
            foreach (var label in labels) Console.WriteLine($"{label}: {size}");
            try { Dispose(); } catch (Exception problem) { throw problem; }
            Func<double, double> grow = amount => amount + size;
            return grow(size) + Area;
        }

        public void Dispose() => Area = Corners;
    }
}
